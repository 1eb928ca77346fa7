package profiles

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

var errEntry = errors.New("not a profile that was kept")

// A coder writes values one behind the other, or reads them in the same order:
// one list of the fields serves both, so that they cannot come apart.
type coder struct {
	data    []byte // written so far, or still to be read
	writing bool
	bad     bool // what was read cannot be
}

// entry lists all that is kept of a profile. A new field of Profile that a run
// needs gets its line in one of the functions below; TestReadyKeepsEveryKey
// names the one that lacks it.
func (c *coder) entry(e *entry) {
	n := int64(len(e.sources))
	c.number(&n)
	if n < 0 || n > maxFiles {
		c.bad = true
		return
	}
	if !c.writing {
		e.sources = make([]source, n)
	}
	for i := range e.sources {
		s := &e.sources[i]
		c.text(&s.path)
		c.text(&s.home)
		c.fixed(s.sum[:])
	}
	c.profile(e.profile)
	filter := string(e.filter)
	c.text(&filter)
	if !c.writing && filter != "" {
		e.filter = []byte(filter)
	}
}

func (c *coder) profile(p *Profile) {
	version := int64(p.Version)
	c.number(&version)
	p.Version = int(version)
	c.text(&p.Name)
	c.list(&p.Warnings)
	c.process(&p.Process)
	c.text(&p.Namespaces.IDMap)
	c.filesystem(&p.Filesystem)
	c.limits(&p.Limits)
	c.list(&p.Capabilities.Keep)
	c.list(&p.Capabilities.Add)
	c.list(&p.Capabilities.Drop)
	c.text(&p.Network.Mode)
	c.landlock(&p.Landlock)
}

func (c *coder) landlock(l *Landlock) {
	c.flag(&l.Filesystem)
	c.flag(&l.Scopes)
	c.list(&l.Read)
	c.list(&l.List)
	c.list(&l.Write)
	c.list(&l.Execute)
	c.ports(&l.Connect)
	c.ports(&l.Bind)
}

func (c *coder) process(p *Process) {
	c.text(&p.User)
	c.text(&p.Workdir)
	c.table(&p.Env)
	c.text(&p.Hostname)
	c.text(&p.StopSignal)
	c.flag(&p.Init)
}

func (c *coder) filesystem(f *Filesystem) {
	c.flag(&f.ReadOnly)
	c.number((*int64)(&f.Disk))
	c.number(&f.Inodes)
	c.list(&f.Bind)
	c.list(&f.Tmpfs)
	c.list(&f.Hidden)
	c.list(&f.Protected)
}

func (c *coder) limits(l *Limits) {
	c.number((*int64)(&l.Memory))
	c.size(&l.Swap)
	cpus := int64(math.Float64bits(l.CPUs))
	c.number(&cpus)
	l.CPUs = math.Float64frombits(uint64(cpus))
	c.number(&l.CPUWeight)
	c.text(&l.CPUSet)
	c.number(&l.Processes)
	c.number(&l.OpenFiles)
	c.number((*int64)(&l.FileSize))
	c.size(&l.CoreSize)
	c.number((*int64)(&l.Timeout))
	c.number((*int64)(&l.Grace))
	c.number((*int64)(&l.CPUTime))
	c.number((*int64)(&l.Output))
	c.list(&l.IORead)
	c.list(&l.IOWrite)
	c.list(&l.IOReadOps)
	c.list(&l.IOWriteOps)
}

func (c *coder) number(v *int64) {
	if c.writing {
		c.data = binary.AppendVarint(c.data, *v)
		return
	}
	n, used := binary.Varint(c.data)
	if used <= 0 {
		c.bad, c.data, used = true, nil, 0
	}
	*v, c.data = n, c.data[used:]
}

// fixed is for as many bytes as b has.
func (c *coder) fixed(b []byte) {
	switch {
	case c.writing:
		c.data = append(c.data, b...)
	case len(c.data) < len(b):
		c.bad, c.data = true, nil
	default:
		c.data = c.data[copy(b, c.data):]
	}
}

func (c *coder) text(s *string) {
	n := int64(len(*s))
	c.number(&n)
	switch {
	case c.writing:
		c.data = append(c.data, *s...)
	case n < 0 || n > int64(len(c.data)):
		c.bad, c.data = true, nil
	default:
		*s, c.data = string(c.data[:n]), c.data[n:]
	}
}

// count is the length of something whose elements take a byte at least, or -1
// for what is not said at all.
func (c *coder) count(n int) int {
	v := int64(n)
	c.number(&v)
	if !c.writing && (v < -1 || v > int64(len(c.data))) {
		c.bad, c.data, v = true, nil, -1
	}
	return int(v)
}

func (c *coder) list(l *[]string) {
	n := len(*l)
	if *l == nil {
		n = -1
	}
	n = c.count(n)
	if !c.writing && n >= 0 {
		*l = make([]string, n)
	}
	for i := range *l {
		c.text(&(*l)[i])
	}
}

func (c *coder) ports(l *[]uint16) {
	n := len(*l)
	if *l == nil {
		n = -1
	}
	n = c.count(n)
	if !c.writing && n >= 0 {
		*l = make([]uint16, n)
	}
	for i := range *l {
		port := int64((*l)[i])
		c.number(&port)
		(*l)[i], c.bad = uint16(port), c.bad || port < 0 || port > math.MaxUint16
	}
}

// table writes the keys in their order, so that one profile is one file.
func (c *coder) table(m *map[string]string) {
	keys := slices.Sorted(maps.Keys(*m))
	n := len(keys)
	if *m == nil {
		n = -1
	}
	n = c.count(n)
	if !c.writing && n >= 0 {
		*m, keys = make(map[string]string, n), make([]string, n)
	}
	for i := range keys {
		c.text(&keys[i])
		value := (*m)[keys[i]]
		c.text(&value)
		(*m)[keys[i]] = value
	}
}

// flag is 0 for what is not said, 1 for false and 2 for true.
func (c *coder) flag(p **bool) {
	var n int64
	switch {
	case *p == nil:
	case **p:
		n = 2
	default:
		n = 1
	}
	c.number(&n)
	if c.writing || n == 0 {
		return
	}
	yes := n == 2
	*p, c.bad = &yes, c.bad || n != 1 && n != 2
}

func (c *coder) size(p **Size) {
	said := *p != nil
	flag := &said
	c.flag(&flag)
	if flag == nil || !*flag {
		return
	}
	if !c.writing {
		*p = new(Size)
	}
	c.number((*int64)(*p))
}
