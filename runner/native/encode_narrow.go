package native

import (
	"golang.org/x/sys/unix"

	"hutch/runner/plan"
)

// landlockFile is what a Landlock rule may allow of a file that is no
// directory; with any other right the kernel answers EINVAL.
const landlockFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
	unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE

// landlockPort is LANDLOCK_RULE_NET_PORT.
const landlockPort = 2

// narrowPath adds the rule of a path of which nobody knows before whether it
// is a directory: as one, where it is, and as a file. Both add up.
func (e *encoder) narrowPath(s *plan.Step) {
	if s.Bits&^landlockFile == 0 {
		e.narrowRule(s.Target, s.Bits, 0)
		return
	}
	file := s.Bits & landlockFile
	o := e.narrowRule(s.Target, s.Bits, unix.O_DIRECTORY)
	if file == 0 {
		return
	}
	e.into.ops[o].orSkip(2, unix.ENOTDIR)
	e.narrowRule(s.Target, file, 0)
}

// narrowRule opens a path, adds its rule and closes it again, for lists are
// longer than the caller's limit of open files may be. The index of its first
// op is returned.
//
// struct landlock_path_beneath_attr is packed, rights and descriptor; here it
// is three slots, the last of which is the descriptor's.
func (e *encoder) narrowRule(target string, bits uint64, flags uint64) int {
	first := len(e.into.ops)
	rule := e.shared.slots[e.used : e.used+3]
	rule[0], rule[1] = int32(uint32(bits)), int32(uint32(bits>>32))
	e.used += 2
	e.open(target, flags, resolveIn).to(e, "below")
	e.call(unix.SYS_LANDLOCK_ADD_RULE, e.slot("ruleset"), val(unix.LANDLOCK_RULE_PATH_BENEATH), val(address(&rule[0])), val(0))
	e.call(unix.SYS_CLOSE, e.slot("below"))
	return first
}

// narrowSlots is how many slots a step takes beside three.
func narrowSlots(p *plan.Plan) (n int) {
	for i := range p.Steps {
		if p.Steps[i].Kind == plan.NarrowPath {
			n += 3
		}
	}
	return n
}
