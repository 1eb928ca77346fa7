package rootfs

import (
	"os"
	"slices"
	"testing"
)

// TestStackGoesOnHiding: where several layers become one, what a layer hides of
// those below it stays hidden, also where a layer above has a directory there.
func TestStackGoesOnHiding(t *testing.T) {
	t.Parallel()
	stack := t.TempDir()
	layers := [][]entry{
		{dirEntry("opaque"), fileEntry("opaque/top", ""), dirEntry("gone"), fileEntry("gone/top", ""), dirEntry("file"), fileEntry("file/top", "")},
		{dirEntry("opaque"), fileEntry("opaque/.wh..wh..opq", ""), fileEntry(".wh.gone", ""), fileEntry("file", "x")},
		{dirEntry("opaque"), fileEntry("opaque/low", ""), dirEntry("gone"), fileEntry("gone/low", ""), dirEntry("file"), fileEntry("file/low", "")},
	}
	for _, l := range layers {
		dir := t.TempDir()
		if _, err := unpackTo(t, dir+"/l", tarOf(t, l...), UnpackOptions{Whiteouts: WhiteoutsOverlay}); err != nil {
			t.Fatal(err)
		}
		if err := addTree(t.Context(), stack, dir+"/l"); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"opaque", "gone", "file"} {
		list, err := os.ReadDir(stack + "/" + d)
		var names []string
		for _, e := range list {
			names = append(names, e.Name())
		}
		if err != nil || !slices.Equal(names, []string{"top"}) {
			t.Errorf("%s holds %q, %v", d, names, err)
		}
	}
}
