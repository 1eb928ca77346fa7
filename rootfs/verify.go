package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Damage is an entry of the store that is not what it was made as.
type Damage struct {
	Entry string // "layers/…" or "images/…"
	What  string
	// Images are the names, or else the IDs, of those that it spoils.
	Images  []string
	Removed bool
}

// Verified says what Verify saw.
type Verified struct {
	Layers, Images int
	Bytes          int64
	Damaged        []Damage
}

// Verify reads the whole store and compares every file with what was written.
// With remove, what is damaged and not in use is removed, and the images that
// it belongs to; they can then be fetched or imported again.
func Verify(ctx context.Context, dir string, remove bool) (Verified, error) {
	var v Verified
	s, err := openStore(dir)
	if err != nil || s.dir == "" {
		return v, err
	}
	users, err := s.verifyImages(&v)
	if err != nil {
		return v, err
	}
	list, _, err := s.entries()
	if err != nil {
		return v, err
	}
	for _, e := range list {
		lock, err := s.hold(layersDir, e.name)
		if errors.Is(err, errGone) {
			continue
		}
		if err == nil {
			err = checkSums(ctx, s.path(layersDir, e.name))
			unix.Close(lock)
		}
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		v.Layers++
		v.Bytes += e.bytes
		if err != nil {
			v.Damaged = append(v.Damaged, Damage{Entry: layersDir + "/" + e.name, What: err.Error(), Images: users[e.name]})
		}
	}
	if !remove {
		return v, nil
	}
	return v, s.removeDamaged(&v)
}

// verifyImages reads the images' files, and gives who uses which layer.
func (s store) verifyImages(v *Verified) (users map[string][]string, err error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	called := map[string][]string{}
	for n, to := range names {
		called[to] = append(called[to], n)
	}
	entries, err := s.imageEntries()
	if err != nil {
		return nil, err
	}
	users = map[string][]string{}
	for _, entry := range entries {
		v.Images++
		who := called[entry]
		if len(who) == 0 {
			who = []string{strings.Replace(entry, "-", ":", 1)}
		}
		lowers, err := s.lowersOf(entry)
		if err == nil {
			_, err = s.image(entry)
		}
		for _, l := range lowers {
			users[l] = append(users[l], who...)
			if _, serr := os.Lstat(s.lower(l)); err == nil && serr != nil {
				err = fmt.Errorf("its layer %s is missing", l)
			}
		}
		if err != nil {
			v.Damaged = append(v.Damaged, Damage{Entry: imagesDir + "/" + entry, What: err.Error(), Images: who})
		}
	}
	return users, nil
}

func (s store) removeDamaged(v *Verified) error {
	bad := map[string]bool{}
	for _, d := range v.Damaged {
		dir, entry, _ := strings.Cut(d.Entry, "/")
		if dir == layersDir {
			bad[entry] = true
		} else if err := s.removeEntry(imagesDir, entry); err != nil && !errors.Is(err, errBusy) && !errors.Is(err, errGone) {
			return err
		}
	}
	images, err := s.imageEntries()
	if err != nil {
		return err
	}
	for _, img := range images {
		lowers, _ := s.lowersOf(img)
		for _, l := range lowers {
			if !bad[l] {
				continue
			}
			if err := s.removeEntry(imagesDir, img); err != nil && !errors.Is(err, errBusy) && !errors.Is(err, errGone) {
				return err
			}
			break
		}
	}
	var st GCStats
	if err := s.removeUnused(&st, func(entry string) bool { return bad[entry] }); err != nil {
		return err
	}
	s.dropDangling()
	for i, d := range v.Damaged {
		_, err := os.Lstat(s.path(d.Entry))
		v.Damaged[i].Removed = err != nil
	}
	return nil
}
