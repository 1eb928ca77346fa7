package guest

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stale is the age at which a built file is worth less than its room: whoever
// still wants it builds it again, in some tens of milliseconds.
const stale = 7 * 24 * time.Hour

// abandoned is the age at which what is being built is so no more: its builder
// was killed.
const abandoned = 10 * time.Minute

// What begins the name of a saved guest, and of one that is being saved.
const (
	SavedPrefix  = "saved-"
	SavingPrefix = ".saving-"
)

// savedRoom is how many bytes of saved guests are kept. One of half a gigabyte
// takes 36 MB, and each number of disks, shares and bytes of memory has its own.
const savedRoom = 512 << 20

// Prune removes from a cache what was built long ago or is not used, and what a
// build left that was killed. A guest that runs has its own hold on its file.
func Prune(dir string) {
	for pattern, age := range map[string]time.Duration{
		"initramfs-*.cpio": stale, ".initramfs-*": abandoned,
		SavedPrefix + "*": stale, SavingPrefix + "*": abandoned,
	} {
		for _, f := range list(dir, pattern) {
			if time.Since(f.ModTime()) > age && !strings.HasSuffix(f.Name(), "lock") {
				os.Remove(filepath.Join(dir, f.Name()))
			}
		}
	}
	saved := list(dir, SavedPrefix+"*")
	slices.SortFunc(saved, func(a, b os.FileInfo) int { return cmp.Compare(b.ModTime().UnixNano(), a.ModTime().UnixNano()) })
	room := int64(savedRoom)
	for _, f := range saved {
		if room -= f.Size(); room < 0 {
			os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}

func list(dir, pattern string) (files []os.FileInfo) {
	names, _ := filepath.Glob(filepath.Join(dir, pattern))
	for _, name := range names {
		if st, err := os.Lstat(name); err == nil {
			files = append(files, st)
		}
	}
	return files
}
