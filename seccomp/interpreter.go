package seccomp

// Run returns what the kernel would make of a call. A filter that fails Check
// kills.
func Run(f Filter, d Data) Action {
	return NewInterpreter(f).Run(&d)
}

// An Interpreter is asked about many calls, and its filter is checked only once.
type Interpreter struct {
	filter Filter // nil: it failed Check
}

// NewInterpreter checks a filter, which must not be changed afterwards.
func NewInterpreter(f Filter) Interpreter {
	if f.Check() != nil {
		return Interpreter{}
	}
	return Interpreter{filter: f}
}

// Run returns what the kernel would make of a call. A filter that failed Check
// kills.
func (i Interpreter) Run(d *Data) Action {
	if i.filter == nil {
		return ActionKillProcess
	}
	return i.filter.run(d)
}

// A machine is the state of classic BPF.
type machine struct {
	a, x uint32
	mem  [scratchWords]uint32
}

// run interprets a filter that Check has accepted. Jumps only go forward and
// stay inside, so it ends at a return.
func (f Filter) run(d *Data) Action {
	var m machine
	for pc := 0; ; pc++ {
		in := f.at(pc)
		switch in.code {
		case retK:
			return Action(in.k)
		case retA:
			return Action(m.a)
		case ja:
			pc += int(in.k)
		case jeqK, jgtK, jgeK, jsetK, jeqX, jgtX, jgeX, jsetX:
			if m.test(in) {
				pc += int(in.jt)
			} else {
				pc += int(in.jf)
			}
		case divX:
			if m.x == 0 {
				return ActionKillThread // as the kernel: the filter returns 0
			}
			m.a /= m.x
		case ldAbs:
			m.a = d.word(in.k)
		case ldImm, ldMem, ldLen, ldxImm, ldxMem, ldxLen, st, stx, tax, txa:
			m.move(in)
		default:
			m.compute(in)
		}
	}
}

// test decides a conditional jump.
func (m *machine) test(in instruction) bool {
	switch in.code {
	case jeqK:
		return m.a == in.k
	case jgtK:
		return m.a > in.k
	case jgeK:
		return m.a >= in.k
	case jsetK:
		return m.a&in.k != 0
	case jeqX:
		return m.a == m.x
	case jgtX:
		return m.a > m.x
	case jgeX:
		return m.a >= m.x
	default: // jsetX
		return m.a&m.x != 0
	}
}

// move carries out loads, stores and copies between the registers.
func (m *machine) move(in instruction) {
	switch in.code {
	case ldImm:
		m.a = in.k
	case ldMem:
		m.a = m.mem[in.k]
	case ldLen:
		m.a = dataSize
	case ldxImm:
		m.x = in.k
	case ldxMem:
		m.x = m.mem[in.k]
	case ldxLen:
		m.x = dataSize
	case st:
		m.mem[in.k] = m.a
	case stx:
		m.mem[in.k] = m.x
	case tax:
		m.x = m.a
	case txa:
		m.a = m.x
	}
}

// compute carries out arithmetic; the kernel takes a shift modulo 32.
func (m *machine) compute(in instruction) {
	switch in.code {
	case addK:
		m.a += in.k
	case addX:
		m.a += m.x
	case subK:
		m.a -= in.k
	case subX:
		m.a -= m.x
	case mulK:
		m.a *= in.k
	case mulX:
		m.a *= m.x
	case divK:
		m.a /= in.k
	case andK:
		m.a &= in.k
	case andX:
		m.a &= m.x
	case orK:
		m.a |= in.k
	case orX:
		m.a |= m.x
	case xorK:
		m.a ^= in.k
	case xorX:
		m.a ^= m.x
	case lshK:
		m.a <<= in.k
	case lshX:
		m.a <<= m.x & 31
	case rshK:
		m.a >>= in.k
	case rshX:
		m.a >>= m.x & 31
	case neg:
		m.a = -m.a
	}
}
