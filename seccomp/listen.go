package seccomp

import (
	"errors"
	"slices"
)

// A Token lets one call of sendmsg(2) pass a filter that listens: the caller
// puts it into the last three arguments, which the kernel does not use. Who
// does not know its 128 bits gains nothing.
type Token [4]uint32

var errListen = errors.New("the filter is too long to listen, or returns what it computes")

// Listen returns a filter that notifies where f answers an errno,
// seccomp_unotify(2), and of the native calls in watch, by number, unless f may
// kill for one. What f allows otherwise stays as cheap as it was: each return
// of an errno becomes a jump behind the end. There stands the way out for the
// listener itself, which must be sent when the filter is on.
func (f Filter) Listen(token Token, watch []int) (Filter, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	list := append(f.watching(watch), f.instructions()...)
	end := uint32(len(list))
	for i, in := range list {
		switch {
		case in.code == retA:
			return nil, errListen
		case in.code == retK && Action(in.k).Kind() == ActionErrno:
			list[i] = instruction{code: ja, k: end - uint32(i) - 1}
		}
	}
	out := assemble(append(list, listening(token)...))
	if out.Check() != nil {
		return nil, errListen
	}
	return out, nil
}

// watching stands for the calls in watch before anything else is asked, with the
// return of an errno: the token passes where sendmsg is one of them.
func (f Filter) watching(watch []int) []instruction {
	watch = slices.DeleteFunc(slices.Clone(watch), func(nr int) bool {
		return slices.ContainsFunc(Outcomes(f, Native(), nr), func(a Action) bool {
			return a.Kind() == ActionKillProcess || a.Kind() == ActionKillThread
		})
	})
	if len(watch) == 0 || len(watch) > 200 {
		return nil
	}
	n := len(watch)
	list := []instruction{
		{code: ldAbs, k: offsetArch},
		{code: jeqK, jf: uint8(n + 3), k: uint32(Native())}, // past all of this
		{code: ldAbs, k: offsetNr},
	}
	for i, nr := range watch {
		list = append(list, instruction{code: jeqK, jt: uint8(n - i), k: uint32(nr)})
	}
	return append(list, instruction{code: ja, k: 1}, instruction{code: retK, k: uint32(ActionErrno)})
}

// listening lets the token pass and notifies of all else.
func listening(token Token) []instruction {
	sendmsg, _ := Number(Native(), "sendmsg")
	tests := []struct{ offset, value uint32 }{
		{offsetArch, uint32(Native())},
		{offsetNr, uint32(sendmsg)},
		{offsetArgs + 3*8, token[0]},
		{offsetArgs + 3*8 + 4, token[1]},
		{offsetArgs + 4*8, token[2]},
		{offsetArgs + 4*8 + 4, token[3]},
	}
	var list []instruction
	for i, t := range tests {
		rest := 2 * (len(tests) - i - 1)
		list = append(list, instruction{code: ldAbs, k: t.offset}, instruction{code: jeqK, jf: uint8(rest + 1), k: t.value})
	}
	return append(list, instruction{code: retK, k: uint32(ActionAllow)}, instruction{code: retK, k: uint32(ActionNotify)})
}
