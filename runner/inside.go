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
