package profiles

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// The lists of landlock: a nearer one replaces a farther one, and an empty one
// is said.
func TestLandlockLists(t *testing.T) {
	read := func(text string, parents ...*Profile) *Profile {
		p, err := Decode("x.toml", []byte("version = 1\n"+text), noLookup)
		must(t, err)
		return merge(p, parents)
	}
	far := read("[landlock]\nread = [\"/etc\", \"/usr\"]\nwrite = [\"/tmp\"]\nconnect = [80, 443]\n")
	other := read("[landlock]\nexecute = [\"/bin\"]\nconnect = [25]\n")
	near := read("[landlock]\nread = [\"/srv\"]\nwrite = []\n", far, other)
	want := Landlock{Read: []string{"/srv"}, Write: []string{}, Execute: []string{"/bin"}, Connect: []uint16{25}}
	if !reflect.DeepEqual(near.Landlock, want) {
		t.Errorf("got %+v, want %+v", near.Landlock, want)
	}
	var out bytes.Buffer
	must(t, near.Encode(&out))
	back, err := Decode("x.toml", out.Bytes(), noLookup)
	must(t, err)
	if !reflect.DeepEqual(back.Landlock, want) {
		t.Errorf("read back: %+v of\n%s", back.Landlock, out.String())
	}

	list, err := Diff(far, near)
	must(t, err)
	var got []string
	for _, d := range list {
		got = append(got, d.Kind+" "+d.Key+" "+d.Text)
	}
	says := []string{
		"more landlock.read has /srv", "more landlock.connect has 25",
		"less landlock.read has no /etc", "less landlock.read has no /usr", "less landlock.write has no /tmp",
		"less landlock.execute not narrowed → only /bin", "less landlock.connect has no 80", "less landlock.connect has no 443",
	}
	if strings.Join(got, "\n") != strings.Join(says, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(says, "\n"))
	}
}

func TestLandlockMistakes(t *testing.T) {
	long := "read = [" + strings.Repeat("\"/a\",", 1025) + "]"
	for text, want := range map[string]string{
		`connect = [80, 65536]`: "p.toml:3:16: ",
		`connect = [-1]`:        "p.toml:3:12: ",
		`bind = ["http"]`:       `p.toml:3:9: landlock.bind: expected a list of ports, such as [80, 443]`,
		`bind = 80`:             "p.toml:3:8: landlock.bind: expected a list of ports",
		`read = ["etc"]`:        `p.toml:3:9: landlock.read[0]: "etc": must begin with /`,
		`write = "/tmp"`:        "p.toml:3:9: landlock.write: expected a list of strings",
		`reed = ["/etc"]`:       `p.toml:3:1: unknown key "landlock.reed": did you mean "read"?`,
		long:                    "p.toml:3:1: landlock.read: 1025 entries: at most 1024",
	} {
		_, err := Decode("p.toml", []byte("version = 1\n[landlock]\n"+text+"\n"), noLookup)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %s", text, err, want)
		}
	}
}
