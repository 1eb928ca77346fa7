package transfer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A copy that is being made is recorded and left alone; without its maker it is
// removed, with directories that forbid it.
func TestRecords(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	records := &Records{Dir: t.TempDir() + "/copies"}
	write(t, src+"/x/closed/f", "one")
	write(t, src+"/x/z", "two")
	if err := os.Chmod(src+"/x/closed", 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(src+"/x/closed", 0o755)
	data, err := pack(t, src+"/x", PackOptions{Bytes: plenty, Owner: -1})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := Place(r, openPath(t, dst), "y", PlaceOptions{Bytes: plenty, Records: records})
		done <- err
	}()
	whole := bytes.LastIndex(data, []byte("end\x00"))
	if _, err := w.Write(data[:whole]); err != nil {
		t.Fatal(err)
	}
	made, _ := filepath.Glob(dst + "/" + tempPrefix + "*")
	if len(made) != 1 {
		t.Fatalf("made: %q", made)
	}
	removed, err := records.Sweep()
	if len(removed) != 0 || err != nil {
		t.Errorf("of a living copy: %q, %v", removed, err)
	}
	// What kill -9 leaves: the directory with its last modes, and a record that
	// nobody holds.
	kept, err := os.ReadDir(records.Dir)
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v, %v", kept, err)
	}
	text, err := os.ReadFile(filepath.Join(records.Dir, kept[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	w.CloseWithError(io.EOF)
	if err := <-done; !errors.Is(err, ErrCutOff) {
		t.Errorf("cut off: %v", err)
	}
	if kept, _ := os.ReadDir(records.Dir); len(kept) != 0 {
		t.Errorf("the record of a copy that is over: %v", kept)
	}
	write(t, made[0]+"/closed/f", "one")
	if err := os.Chmod(made[0]+"/closed", 0o500); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(records.Dir, kept[0].Name()), string(text))
	removed, err = records.Sweep()
	if err != nil || strings.Join(removed, "") != made[0] {
		t.Errorf("of a dead one: %q, %v", removed, err)
	}
	for _, dir := range []string{dst, records.Dir} {
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// A file needs a name only while it replaces another, and is recorded then.
func TestUnnamed(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	records := &Records{Dir: t.TempDir() + "/copies"}
	write(t, src+"/x", "new")
	data, err := pack(t, src+"/x", PackOptions{Bytes: plenty, Owner: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // made, and replaced
		if _, err := Place(bytes.NewReader(data), openPath(t, dst), "y", PlaceOptions{Bytes: plenty, Records: records}); err != nil {
			t.Fatal(err)
		}
		if now, _ := os.ReadFile(dst + "/y"); string(now) != "new" {
			t.Errorf("now %q", now)
		}
		write(t, dst+"/y", "before")
	}
	for _, dir := range []string{dst, records.Dir} {
		if left, _ := os.ReadDir(dir); len(left) > 1 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// What is no record of ours removes nothing, and goes; one whose directory is
// not there stays for a while.
func TestForeignRecords(t *testing.T) {
	dst, records := t.TempDir(), &Records{Dir: t.TempDir()}
	write(t, dst+"/precious", "x")
	write(t, dst+"/.hutch-dir/precious", "x")
	for name, text := range map[string]string{
		"empty": "", "broken": `{"dir":"` + dst, "other": `{"dir":"` + dst + `","name":"precious"}`,
		"up": `{"dir":"` + dst + `/.hutch-dir","name":".hutch-/../precious"}`, "relative": `{"dir":".","name":".hutch-x"}`,
		"all": `{"dir":"` + dst + `","name":""}`, "away": `{"dir":"` + dst + `/unmounted","name":".hutch-x"}`,
	} {
		write(t, filepath.Join(records.Dir, name), text)
	}
	removed, err := records.Sweep()
	if len(removed) != 0 || err != nil {
		t.Errorf("removed %q, %v", removed, err)
	}
	if left, _ := os.ReadDir(records.Dir); len(left) != 1 || left[0].Name() != "away" {
		t.Errorf("left: %v", left)
	}
	old := time.Now().Add(-2 * recordAge)
	if err := os.Chtimes(filepath.Join(records.Dir, "away"), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := records.Sweep(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(records.Dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(dst + "/.hutch-dir/precious"); err != nil {
		t.Error(err)
	}
}

// Where nobody keeps records, in a box's own directory, a copy removes what one
// before it has left, and nothing else.
func TestStale(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src+"/x/f", "new")
	write(t, dst+"/.hutch-ABCDEFGHIJ27/closed/f", "half")
	write(t, dst+"/.hutch-abcdefghij27", "somebody's")
	write(t, dst+"/.hutch-ABCDEFGHIJ2", "somebody's")
	if err := os.Chmod(dst+"/.hutch-ABCDEFGHIJ27/closed", 0o500); err != nil {
		t.Fatal(err)
	}
	data, err := pack(t, src+"/x", PackOptions{Bytes: plenty, Owner: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Place(bytes.NewReader(data), openPath(t, dst), "y", PlaceOptions{Bytes: plenty}); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, _ := os.ReadDir(dst)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != ".hutch-ABCDEFGHIJ2 .hutch-abcdefghij27 y" {
		t.Errorf("there is now %s", got)
	}
}
