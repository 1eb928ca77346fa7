package guest

import (
	"os"
	"path/filepath"
	"time"
)

// stale is the age at which a built file is worth less than its room: whoever
// still wants it builds it again, in some tens of milliseconds.
const stale = 7 * 24 * time.Hour

// abandoned is the age at which what is being built is so no more: its builder
// was killed.
const abandoned = 10 * time.Minute

// prune removes what was built long ago, and what a build left that was
// killed. A guest that runs has its own hold on its file.
func (i Initramfs) prune() {
	for pattern, age := range map[string]time.Duration{"initramfs-*.cpio": stale, ".initramfs-*": abandoned} {
		names, _ := filepath.Glob(filepath.Join(i.Dir, pattern))
		for _, name := range names {
			if st, err := os.Lstat(name); err == nil && time.Since(st.ModTime()) > age {
				os.Remove(name)
			}
		}
	}
}
