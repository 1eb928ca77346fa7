package profiles

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hutch/seccomp"
)

// A Target is what the conditions of a Docker profile ask about.
type Target struct {
	Arch seccomp.Arch
	// Capabilities is the bounding set of the application, as "CAP_CHOWN".
	Capabilities []string
	// Kernel is the release, as uname(2) has it; "" counts as the newest.
	Kernel string
}

// DockerCapabilities are those that Docker leaves to a container:
// docs.docker.com/engine/security, "Linux kernel capabilities".
func DockerCapabilities() []string {
	return []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
		"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

// ociProfile is the seccomp file of Docker, the seccomp object of
// OCI's config-linux.md, and what podman adds to them.
type ociProfile struct {
	DefaultAction    string       `json:"defaultAction"`
	DefaultErrnoRet  *uint        `json:"defaultErrnoRet"`
	DefaultErrno     string       `json:"defaultErrno"` // podman
	Architectures    []string     `json:"architectures"`
	ArchMap          []ociArchMap `json:"archMap"`
	Flags            []string     `json:"flags"`
	ListenerPath     string       `json:"listenerPath"`
	ListenerMetadata string       `json:"listenerMetadata"`
	Syscalls         []ociRule    `json:"syscalls"`
}

type ociArchMap struct {
	Architecture     string   `json:"architecture"`
	SubArchitectures []string `json:"subArchitectures"`
}

type ociRule struct {
	Name     string    `json:"name"`
	Names    []string  `json:"names"`
	Action   string    `json:"action"`
	ErrnoRet *uint     `json:"errnoRet"`
	Errno    string    `json:"errno"` // podman
	Args     []ociArg  `json:"args"`
	Comment  string    `json:"comment"`
	Includes ociFilter `json:"includes"`
	Excludes ociFilter `json:"excludes"`
}

type ociArg struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

type ociFilter struct {
	Arches    []string `json:"arches"`
	Caps      []string `json:"caps"`
	MinKernel string   `json:"minKernel"`
}

// DecodeOCI makes a profile of a seccomp file in the format of Docker and OCI,
// for one target: rules for others are left out, and so are allowed calls that
// this program does not know; the description names them. warnings say, a
// sentence each, what is not as another runtime would have it. name stands in errors; an
// error about the text is an *Error.
func DecodeOCI(name string, data []byte, t Target) (p *Profile, warnings []string, err error) {
	if len(data) > maxInput {
		return nil, nil, &Error{File: name, Err: errTooLarge}
	}
	in, err := readOCI(name, data)
	if err != nil {
		return nil, nil, err
	}
	c := &converter{target: t, policy: &seccomp.Policy{}}
	if bad := c.convert(in); bad != nil {
		return nil, nil, placedJSON(name, data, bad.path, bad.err)
	}
	p = &Profile{Version: Version, Name: strings.TrimSuffix(profileName(name), ".json"), Seccomp: c.policy}
	if slices.Sort(c.skipped); len(c.skipped) > 0 {
		p.Description = "without the calls that no table has: " + strings.Join(c.skipped, ", ")
	}
	if bad := p.checkSeccomp(); bad != nil {
		return nil, nil, &Error{File: name, Err: bad}
	}
	return p, c.finish(), nil
}

// readOCI is strict: a key that is not known could be one that refuses.
func readOCI(name string, data []byte) (*ociProfile, error) {
	in := &ociProfile{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(in)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			return nil, atOffset(name, data, int(d.InputOffset()), errors.New("more text behind the end of the profile"))
		}
		return in, nil
	}
	offset := int(d.InputOffset())
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = max(int(syntax.Offset)-1, 0)
	case errors.As(err, &kind):
		offset = max(int(kind.Offset)-1, 0)
		err = fmt.Errorf("%s: expected %s, not %s", kind.Field, jsonWord(kind.Type.Kind().String()), kind.Value)
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		word := strings.Trim(strings.TrimPrefix(err.Error(), "json: unknown field "), "\"")
		offset = max(bytes.Index(data, []byte("\""+word+"\"")), 0)
		err = unknownJSONKey(word)
	}
	return nil, atOffset(name, data, offset, err)
}

func unknownJSONKey(word string) error {
	known := []string{
		"action", "archMap", "architecture", "architectures", "arches", "args", "caps", "comment", "defaultAction",
		"defaultErrno", "defaultErrnoRet", "errno", "errnoRet", "excludes", "flags", "includes", "index", "listenerMetadata",
		"listenerPath", "minKernel", "name", "names", "op", "subArchitectures", "syscalls", "value", "valueTwo",
	}
	if near := seccomp.Nearest(word, known); near != "" {
		return fmt.Errorf("unknown key %q: did you mean %q?", word, near)
	}
	return fmt.Errorf("unknown key %q: neither Docker's nor OCI's seccomp files have it", word)
}

func jsonWord(kind string) string {
	switch kind {
	case "slice":
		return "a list"
	case "struct":
		return "an object"
	case "string":
		return "a string"
	}
	return "a whole number that is not negative"
}

// A converter makes a policy of an ociProfile.
type converter struct {
	target   Target
	policy   *seccomp.Policy
	skipped  []string // calls that no table has
	warnings []string
}

func (c *converter) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(c.warnings, text) {
		c.warnings = append(c.warnings, text)
	}
}

func (c *converter) convert(in *ociProfile) *fieldError {
	action, errno, err := c.action(in.DefaultAction, in.DefaultErrnoRet, in.DefaultErrno)
	if err != nil {
		return &fieldError{"defaultAction", err}
	}
	if action == "notify" {
		return &fieldError{"defaultAction", errors.New("SCMP_ACT_NOTIFY is not for every call")}
	}
	c.policy.Default, c.policy.Errno = action, errno
	if len(in.Architectures) > 0 && len(in.ArchMap) > 0 {
		return &fieldError{"archMap", errors.New("stands beside \"architectures\": one of them must go")}
	}
	c.architectures(in)
	if len(in.Flags) > 0 {
		c.warn("flags are left out: %s", strings.Join(in.Flags, ", "))
	}
	if in.ListenerPath != "" {
		return &fieldError{"listenerPath", errors.New("a listener of one's own is not supported")}
	}
	for i := range in.Syscalls {
		if bad := c.rule(&in.Syscalls[i]); bad != nil {
			return &fieldError{fmt.Sprintf("syscalls[%d]%s", i, bad.path), bad.err}
		}
	}
	return nil
}

// architectures takes over what this machine can run besides its own.
func (c *converter) architectures(in *ociProfile) {
	names := in.Architectures
	for _, m := range in.ArchMap {
		if m.Architecture == "SCMP_ARCH_"+strings.ToUpper(c.target.Arch.String()) {
			names = append([]string{m.Architecture}, m.SubArchitectures...)
		}
	}
	for _, name := range names {
		word := strings.ToLower(strings.TrimPrefix(name, "SCMP_ARCH_"))
		x86 := c.target.Arch == seccomp.ArchX86_64 && (word == "x86" || word == "x32")
		arm := c.target.Arch == seccomp.ArchAArch64 && word == "arm"
		if (x86 || arm) && !slices.Contains(c.policy.Architectures, word) {
			c.policy.Architectures = append(c.policy.Architectures, word)
		}
	}
}

// rule takes one rule over, if the target is one that it is for.
func (c *converter) rule(r *ociRule) *fieldError {
	if r.Name != "" && len(r.Names) > 0 {
		return &fieldError{".name", errors.New("stands beside \"names\": one of them must go")}
	}
	names := r.Names
	if r.Name != "" {
		names = []string{r.Name}
	}
	applies, err := c.applies(r)
	if err != nil {
		return err
	}
	action, errno, bad := c.action(r.Action, r.ErrnoRet, r.Errno)
	if bad != nil {
		return &fieldError{".action", bad}
	}
	if !applies {
		return nil
	}
	calls := c.known(names, action)
	if len(calls) == 0 {
		return nil
	}
	if action == "allow" && len(r.Args) == 0 {
		c.policy.Allow = union(c.policy.Allow, calls)
		return nil
	}
	return c.rules(r, seccomp.Rule{Calls: calls, Action: action, Errno: errno, Reason: r.Comment})
}

// rules adds one rule, or one for each comparison where two are about the same
// argument: runc and libseccomp take those for alternatives.
func (c *converter) rules(r *ociRule, rule seccomp.Rule) *fieldError {
	var args []seccomp.Arg
	var seen [6]bool
	twice := false
	for i, a := range r.Args {
		arg, err := a.arg()
		if err != nil {
			return &fieldError{fmt.Sprintf(".args[%d]", i), err}
		}
		twice = twice || seen[a.Index]
		seen[a.Index] = true
		args = append(args, arg)
	}
	if !twice {
		rule.Args = args
		c.policy.Rules = append(c.policy.Rules, rule)
		return nil
	}
	for i := range args {
		rule.Args = args[i : i+1 : i+1]
		c.policy.Rules = append(c.policy.Rules, rule)
	}
	return nil
}

func (a *ociArg) arg() (seccomp.Arg, error) {
	out := seccomp.Arg{Index: int(a.Index), Value: number(a.Value)}
	if a.Index > 5 {
		return out, fmt.Errorf("index %d: arguments count from 0 to 5", a.Index)
	}
	switch a.Op {
	case "SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GT", "SCMP_CMP_GE":
		out.Op = strings.ToLower(strings.TrimPrefix(a.Op, "SCMP_CMP_"))
	case "SCMP_CMP_MASKED_EQ":
		out.Op, out.Mask, out.Value = "masked_eq", number(a.Value), number(a.Value&a.ValueTwo)
	default:
		return out, unknownWord("op", a.Op, "SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GT",
			"SCMP_CMP_GE", "SCMP_CMP_MASKED_EQ")
	}
	return out, nil
}

// number writes small numbers as people do, and masks in hexadecimal; TOML has
// no integers beyond 63 bits, but a word may hold one.
func number(n uint64) seccomp.Value {
	if n < 4096 {
		return seccomp.Value(fmt.Sprint(n))
	}
	return seccomp.Value(fmt.Sprintf("%#x", n))
}

// action returns the words of a policy for an action.
func (c *converter) action(word string, ret *uint, name string) (action, errno string, err error) {
	switch word {
	case "SCMP_ACT_ALLOW":
		return "allow", "", nil
	case "SCMP_ACT_LOG":
		return "log", "", nil
	case "SCMP_ACT_KILL_PROCESS":
		return "kill", "", nil
	case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP":
		c.warn("%s kills the whole process here", word)
		return "kill", "", nil
	case "SCMP_ACT_NOTIFY":
		return "", "", errors.New("SCMP_ACT_NOTIFY needs a listener of one's own, which is not supported")
	case "SCMP_ACT_TRACE":
		return "errno", "ENOSYS", nil // the kernel's answer where nobody traces, seccomp(2)
	case "SCMP_ACT_ERRNO":
		errno, err = errnoWord(ret, name)
		return "errno", errno, err
	}
	return "", "", unknownWord("action", word, "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
		"SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP")
}

// errnoWord is the name of an errno; a number wins over a name, as in podman.
func errnoWord(ret *uint, name string) (string, error) {
	switch {
	case ret == nil && name == "":
		return "EPERM", nil
	case ret == nil:
		return name, nil
	}
	if *ret < 1<<12 {
		if word := unix.ErrnoName(syscall.Errno(*ret)); word != "" {
			return word, nil
		}
	}
	return "", fmt.Errorf("errno %d: there is no such error", *ret)
}

func unknownWord(what, word string, known ...string) error {
	if near := seccomp.Nearest(word, known); near != "" {
		return fmt.Errorf("unknown %s %q: did you mean %q?", what, word, near)
	}
	return fmt.Errorf("unknown %s %q: expected one of %s", what, word, strings.Join(known, ", "))
}

// known leaves out the calls that no table has. A file in this format is
// written for many machines, so they are no mistake; but who refuses a call by
// name is told that it is not refused by that name.
func (c *converter) known(names []string, action string) []string {
	var calls []string
	for _, name := range names {
		switch {
		case seccomp.Known(name):
			calls = append(calls, name)
		case action != "allow" && action != "log":
			c.warn("unknown system call %q, which is refused: left out", name)
		case !slices.Contains(c.skipped, name):
			c.skipped = append(c.skipped, name)
		}
	}
	return calls
}

// finish says what came of the whole.
func (c *converter) finish() []string {
	for _, what := range c.policy.Contradictions() {
		c.warn("%s", what)
	}
	for _, name := range c.policy.Conflicts() {
		c.warn("rules on arguments of %s are taken as exceptions to the one without; libseccomp would drop them", name)
	}
	return c.warnings
}
