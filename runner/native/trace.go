package native

import (
	"fmt"
	"io"
	"strings"

	"hutch/runner"
	"hutch/runner/cgroup"
	"hutch/runner/plan"
	"hutch/seccomp"
)

// WriteSyscalls prints the system calls of s, in order, by process: the same
// that strace(1) shows between clone and execve.
func (e *Engine) WriteSyscalls(w io.Writer, s *runner.Spec) error {
	p, err := e.Plan(s)
	if err != nil {
		return err
	}
	f := files{stdio: [3]int{0, 1, 2}, self: 3, status: 4, reaper: 5}
	if l := cgroupLimits(s.Limits); !l.Empty() || s.Limits.CPUTime > 0 {
		f.groups = cgroup.Entered(l, e.groups(s))
	}
	enc, err := encode(p, f, nil, true)
	if err != nil {
		return err
	}
	defer enc.mem.free()
	var b strings.Builder
	enc.list(&b, p, "hutch", &enc.hutch)
	enc.list(&b, p, "box", &enc.box)
	_, err = io.WriteString(w, b.String())
	return err
}

func (e *encoder) list(b *strings.Builder, p *plan.Plan, who string, prog *program) {
	fmt.Fprintf(b, "%s\n", who)
	last := -1
	for i := range prog.ops {
		o := &prog.ops[i]
		if int(o.step) != last {
			last = int(o.step)
			fmt.Fprintf(b, "  # %s\n", p.Steps[last])
		}
		if o.start != nil {
			fmt.Fprintf(b, "  clone3(application)\n")
			e.list(b, p, "application", o.start)
			fmt.Fprintf(b, "%s, on\n", who)
			continue
		}
		fmt.Fprintf(b, "  %s\n", e.text(o))
	}
}

// text is one call, with strings in quotes and descriptors by name.
func (e *encoder) text(o *op) string {
	name := seccomp.Name(seccomp.Native(), int(o.nr))
	n := len(o.args)
	for n > 0 && o.args[n-1] == 0 && o.refs&(1<<(n-1)) == 0 {
		n--
	}
	args := make([]string, n)
	for i := range args {
		args[i] = e.argText(o, i)
	}
	s := name + "(" + strings.Join(args, ", ") + ")"
	if o.store != nil {
		for _, slot := range e.names {
			if &e.shared.slots[slot.slot] == o.store {
				s += " = <" + slot.name + ">"
				break
			}
		}
	}
	for _, a := range o.allow {
		if a != 0 {
			s += " or " + errnoName(a)
		}
	}
	return s
}

func (e *encoder) argText(o *op, i int) string {
	v := o.args[i]
	if o.refs&(1<<i) != 0 {
		for _, slot := range e.names {
			if slot.slot == v {
				return "<" + slot.name + ">"
			}
		}
	}
	if t, ok := e.mem.texts[v]; ok {
		return fmt.Sprintf("%q", t)
	}
	switch {
	case e.mem.holds(v), e.shared.holds(v):
		return "{…}"
	case int32(v) < 0 && v>>32 == 1<<32-1:
		return fmt.Sprint(int64(v))
	default:
		return fmt.Sprintf("%#x", v)
	}
}
