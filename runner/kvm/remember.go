package kvm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// remember fills in what, which is about the files of paths, from the cache,
// or by find. The key is what tells one file from another without reading it:
// nobody can set the time of a file's last change back. A cache that cannot be
// written only makes the next start slower.
func remember(cache, kind, path string, what any, find func() error) error {
	key, err := identity(kind, path)
	name := filepath.Join(cache, kind+"-"+key+".json")
	if err == nil {
		var st unix.Stat_t
		data, rerr := os.ReadFile(name)
		if rerr == nil && unix.Lstat(name, &st) == nil && int(st.Uid) == os.Geteuid() && json.Unmarshal(data, what) == nil {
			return nil
		}
	}
	if ferr := find(); ferr != nil || err != nil {
		return ferr
	}
	data, err := json.Marshal(what)
	if err != nil || os.MkdirAll(cache, 0o700) != nil {
		return nil
	}
	f, err := os.CreateTemp(cache, "."+kind+"-*")
	if err != nil {
		return nil
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err != nil || cerr != nil || os.Rename(f.Name(), name) != nil {
		os.Remove(f.Name())
	}
	return nil
}

// rememberVersion changes when what is remembered does.
const rememberVersion = 2

func identity(kind, path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%d %s %d:%d %d %d.%d %q", rememberVersion, kind, st.Dev, st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec, path))
	return hex.EncodeToString(h[:16]), nil
}
