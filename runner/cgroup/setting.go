package cgroup

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// A setting is one write into a control file.
type setting struct {
	file, value string
	// inherit: the value is read from the same file of the group above.
	inherit bool
	// lacks and remedy say why the file may be absent. lacks == "" is the
	// controller's own file, which is always there.
	lacks, remedy string
	// optional: an absent file, or a device that cannot be limited, is fine.
	optional bool
	// preferred is optional under a name, which Missing then has.
	preferred string
	// invalid says what EINVAL or ERANGE from the kernel means for this value.
	invalid string
}

// apply writes what l needs of the controllers in d.
func (d *dir) apply(p parent, l *Limits) error {
	for i := range controllers {
		c := &controllers[i]
		if !d.ctl.has(c.set) || c.wanted == nil || !c.wanted(l) {
			continue
		}
		list := c.setV1
		if d.v2 {
			list = c.setV2
		}
		settings, err := list(l)
		if err != nil {
			return err
		}
		for i := range settings {
			s := &settings[i]
			err := d.write(c, s, p)
			if s.preferred != "" && errors.Is(err, unix.ENOENT) {
				d.missing, err = append(d.missing, s.preferred), nil
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dir) write(c *controller, s *setting, p parent) error {
	value := s.value
	if s.inherit {
		var err error
		if value, err = readFile(p.path + "/" + s.file); err != nil {
			return p.denied("read "+p.path+"/"+s.file, err)
		}
	}
	err := writeAt(d.fd, s.file, value)
	if err == nil || s.optional && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP)) {
		return nil
	}
	return s.explain(c, value, p, err)
}

// explain turns the errno of a write into a reason and a remedy.
func (s *setting) explain(c *controller, value string, p parent, err error) error {
	op := "set " + s.file + " to " + value
	switch {
	case errors.Is(err, unix.ENOENT) && s.lacks != "":
		return &Error{Controller: c.set.first(), Op: op, Err: err, Reason: s.lacks, Remedy: s.remedy}
	case errors.Is(err, unix.ENODEV):
		return &Error{
			Controller: c.set.first(), Op: op, Err: err,
			Reason: "no such disk, or it cannot be limited",
			Remedy: "name a whole disk of lsblk(8), such as /dev/sda",
		}
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		return &Error{Controller: c.set.first(), Op: op, Err: err, Reason: s.invalid, Remedy: "lower it to what " + p.path + " has"}
	}
	e := p.denied(op, err)
	e.Controller = c.set.first()
	return e
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
