package native

import (
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

// files are the descriptors of hutch's that a box is born with.
type files struct {
	stdio  [3]int
	self   int // a pidfd of hutch
	status int // the box's end of the status socket
	reaper int // the reaper's program, a memfd
	copies int // the box's end of the socket for the tree that is copied from and to
	// images are mounted file systems, by the names of their trees.
	images map[string]int
	// lock, where it is wanted, is one that the reaper holds.
	lock int
	// groups is how many control groups the application enters by itself.
	groups int
	// listener is where the filter's listener is sent through; listen is that filter.
	listener int
	listen   *listeningFilter
}

// An encoder turns the steps of a plan into ops. All strings, pointers and
// structs are settled here.
type encoder struct {
	mem    *arena
	files  files
	shared *shared
	// running is a futex that the kernel clears when the first process executes
	// the reaper or ends (CLONE_CHILD_CLEARTID, clone(2)).
	running *int32
	names   []slotName
	used    int // slots
	step    uint16

	hutch, box, app program
	into            *program
	// userns holds the mount_attr structs that want the box's user namespace,
	// which exists only after clone.
	userns [][]byte
}

type slotName struct {
	name string
	slot uintptr
}

// encode makes the programs of a plan. Where there is a newborn it has done the
// first steps.
func encode(p *plan.Plan, f files, n *Newborn, trace bool) (*encoder, error) {
	mem, err := newArena(arenaSize(p), trace)
	if err != nil {
		return nil, &runner.Error{Stage: runner.StageStart, Step: "map memory for the start", Err: err, Hint: "the machine is out of memory, or ulimit -v is too low"}
	}
	e := &encoder{mem: mem, files: f, shared: &shared{running: 1}}
	e.running = &e.shared.running
	done, ahead := 0, plan.Kind("")
	if n != nil {
		e.running, done, ahead = n.Running, len(n.Steps), n.Ahead
	}
	e.shared.slots = make([]int32, 3*len(p.Steps)+narrowSlots(p)+8+4+f.groups)
	e.box.ops = make([]op, 0, 3*len(p.Steps)+32)
	e.app.ops = make([]op, 0, 160)
	for _, prog := range []*program{&e.hutch, &e.box, &e.app} {
		prog.shared = e.shared
	}
	app := &e.box
	for i, s := range p.Steps {
		if e.step = uint16(i); i < done || s.By == plan.Box && s.Kind == ahead {
			continue
		}
		switch s.By {
		case plan.Hutch:
			e.into = &e.hutch
		case plan.Application:
			e.into = app
		default:
			e.into = &e.box
		}
		if s.Kind == plan.StartApp {
			app = &e.app
			e.start(app)
			continue
		}
		e.one(&s)
	}
	e.cloneArgs(p.Clone)
	return e, nil
}

// arenaSize bounds what encode takes: the words of the steps and a page for
// the structs of each few of them.
func arenaSize(p *plan.Plan) int {
	n := 2*stackSize + 4096
	for _, s := range p.Steps {
		n += listenerRoom(&s) + 512 + len(s.Bytes) + 2*(len(s.Source)+len(s.Target)+len(s.Data))
		for _, w := range s.Words {
			n += 2*len(w) + 64
		}
		for _, w := range s.Env {
			n += len(w) + 64
			if s.Kind == plan.Execute && strings.HasPrefix(w, "PATH=") {
				n += (len(s.Words[0]) + 16) * (strings.Count(w, ":") + 1) * 2
				n += 2 * len(w)
			}
		}
	}
	return (n + 4095) &^ 4095
}

func (e *encoder) cloneArgs(namespaces uint64) {
	b := &e.box.clone
	b.flags = namespaces | unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_PIDFD |
		unix.CLONE_CLEAR_SIGHAND | unix.CLONE_CHILD_CLEARTID
	b.exitSignal = uint64(unix.SIGCHLD)
	b.stack, b.stackSize = e.mem.stack()
	b.childTID = uint64(address(e.running))
}

// start has the box start p, in the same memory. The kernel clears p's word
// when p has executed something or ended.
func (e *encoder) start(p *program) {
	p.word = &e.shared.application
	p.clone = cloneArgs{
		flags: unix.CLONE_VM | unix.CLONE_CHILD_CLEARTID, childTID: uint64(address(p.word)),
		exitSignal: uint64(unix.SIGCHLD),
	}
	p.clone.stack, p.clone.stackSize = e.mem.stack()
	e.into.ops = append(e.into.ops, op{start: p, step: e.step})
}

// An arg is an argument of a call: a value, or the slot that will hold it.
type arg struct {
	v   uintptr
	ref bool
}

func val[T ~int | ~uint32 | ~uint64 | ~uintptr | ~int32 | ~int64](v T) arg { return arg{v: uintptr(v)} }

func (e *encoder) str(s string) arg { return arg{v: e.mem.str(s)} }

// slot is the place of name's descriptor; it is made when first named.
func (e *encoder) slot(name string) arg {
	for i := len(e.names) - 1; i >= 0; i-- {
		if e.names[i].name == name {
			return arg{v: e.names[i].slot, ref: true}
		}
	}
	return e.newSlot(name)
}

// newSlot makes name stand for a new place, whatever it stood for before.
func (e *encoder) newSlot(name string) arg {
	e.used++
	e.names = append(e.names, slotName{name, uintptr(e.used - 1)})
	return arg{v: uintptr(e.used - 1), ref: true}
}

// alias makes name stand for the descriptor that other stands for.
func (e *encoder) alias(name, other string) {
	e.names = append(e.names, slotName{name, e.slot(other).v})
}

// call appends an op.
func (e *encoder) call(nr uintptr, args ...arg) *op {
	e.into.ops = append(e.into.ops, op{nr: nr, step: e.step})
	o := &e.into.ops[len(e.into.ops)-1]
	for i, a := range args {
		o.args[i] = a.v
		if a.ref {
			o.refs |= 1 << i
		}
	}
	return o
}

// to stores the result in a slot.
func (o *op) to(e *encoder, name string) *op {
	o.store = &e.shared.slots[e.newSlot(name).v]
	return o
}

// or tolerates errnos.
func (o *op) or(errnos ...unix.Errno) *op {
	for i, n := range errnos {
		o.allow[i] = uint16(n)
	}
	return o
}

// orSkip leaves the next n ops out when errno comes.
func (o *op) orSkip(n int, errnos ...unix.Errno) *op {
	o.skip = uint16(n)
	return o.or(errnos...)
}
