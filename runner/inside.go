package runner

import (
	"strings"

	"hutch/rootfs"
)

// What an engine must know of a root before it has mounted it is looked up in
// the layers, with every symbolic link resolved inside them.

func (s *Spec) view() rootfs.View {
	if s.Root.Kind == RootHost {
		return rootfs.View{Lowers: []string{"/"}}
	}
	return rootfs.View{Lowers: s.Root.Lowers}
}

// A User is who the application runs as, in the ids of the root.
type User = rootfs.User

// LookupUser finds the Spec's user in the root's own /etc/passwd and
// /etc/group.
func (s *Spec) LookupUser() (User, error) {
	u, err := rootfs.LookupUser(s.view(), s.User)
	if err != nil {
		return u, &Error{Stage: StageStart, Step: "find the user in the root", Err: err, Hint: "name one that /etc/passwd of the root holds, or a number"}
	}
	return u, nil
}

// MayBeImage says whether a layer could be an EROFS image, by its name.
func MayBeImage(layer string) bool { return strings.HasSuffix(layer, rootfs.LayerImage) }

// TakeLayer mounts a layer that is an EROFS image on nothing, for one box; the
// descriptor is the caller's to close.
func TakeLayer(layer string) (tree int, err error) {
	tree, err = rootfs.TakeLayer(layer)
	if err == nil {
		return tree, nil
	}
	e := &Error{Stage: StagePrepare, Err: err}
	if before, after, ok := cutLast(err.Error(), "; "); ok {
		e.Err, e.Hint = reworded{before, err}, after
	}
	return -1, e
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// A reworded error is err in other words.
type reworded struct {
	text string
	err  error
}

func (r reworded) Error() string { return r.text }
func (r reworded) Unwrap() error { return r.err }

// LoopDevice ties a free loop device to a file until its last user is gone.
func LoopDevice(file int) (device int, name string, err error) { return rootfs.LoopDevice(file, 0) }

// IsDir says whether path exists in the root, and is a directory.
func (s *Spec) IsDir(path string) (dir, exists bool) {
	info, err := s.view().Stat(path)
	return err == nil && info.IsDir(), err == nil
}

// ExplainExec says why the command could not be executed, as far as the
// layers tell. It returns nil where they do not: a mount may lie over it.
func (s *Spec) ExplainExec() *Error {
	command := s.Command[0]
	for _, m := range s.Mounts {
		if strings.HasPrefix(command, strings.TrimSuffix(m.Target, "/")+"/") {
			return nil
		}
	}
	var dirs []string
	for _, v := range s.Env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			dirs = strings.Split(list, ":")
		}
	}
	p := rootfs.DiagnoseExec(s.view(), command, dirs)
	if p.Message == "" {
		return nil
	}
	return &Error{Stage: StageExec, Step: p.Message, Hint: p.Hint, Exit: p.Code}
}
