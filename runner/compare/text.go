package compare

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"hutch/runner/compare/work"
)

// A Style is how a report is shown on a terminal.
type Style struct {
	Width int // columns, at least 40
	Color bool
}

func (s Style) paint(code, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s Style) bold(text string) string  { return s.paint("1", text) }
func (s Style) faint(text string) string { return s.paint("2", text) }

// WriteText shows the report as tables of at most the style's width.
func (r *Report) WriteText(w io.Writer, s Style) error {
	var b strings.Builder
	r.head(&b, s)
	group := ""
	sides := r.ran()
	for i := range r.Rows {
		row := &r.Rows[i]
		if len(row.Cells) == 0 {
			continue
		}
		if row.Group != group {
			group = row.Group
			fmt.Fprintf(&b, "\n%s\n", s.bold(group))
		}
		r.textRow(&b, s, row, sides)
	}
	r.textGrowth(&b, s)
	r.textIsolation(&b, s, sides)
	fmt.Fprintf(&b, "\n%s\n", s.bold("what this says"))
	for _, line := range r.Says() {
		wrap(&b, line, "- ", "  ", s.Width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// head says what was compared, on what.
func (r *Report) head(b *strings.Builder, s Style) {
	what := "the built-in workloads"
	if len(r.Command) > 0 {
		what = strings.Join(r.Command, " ")
	}
	b.WriteString(s.bold("hutch compare: "+what) + "\n")
	m := r.Machine
	where := fmt.Sprintf("%s, %d processors, %s, %s; %s on %s; %s",
		m.Processor, m.Processors, size(m.MemoryBytes), m.Kernel, m.FileSystem, m.Disk, r.rounds())
	wrap(b, where, "", "", s.Width)
	if m.Hypervisor {
		wrap(b, "This machine is a virtual machine itself.", "", "", s.Width)
	}
	if l := r.Limits.String(); l != "" {
		wrap(b, "Every side was limited to "+l+".", "", "", s.Width)
	}
	if r.Interrupted {
		wrap(b, "Interrupted: this is what had been measured by then.", "", "", s.Width)
	}
	wrap(b, fmt.Sprintf("Medians with their quartiles; ratios to %s with their %s. A difference within the noise is printed as none.", r.Reference, r.interval()), "", "", s.Width)
}

// rounds says how often each side ran.
func (r *Report) rounds() string {
	said := fmt.Sprintf("%d rounds of each side in turn", r.Rounds)
	if r.MoreRounds > r.Rounds {
		said += fmt.Sprintf(", %d of those that are cheap", r.MoreRounds)
	}
	return said
}

// interval says what stands behind the ratios.
func (r *Report) interval() string {
	const usual = "95 % interval"
	few, enough := false, false
	for _, row := range r.Rows {
		for _, c := range row.Cells {
			if c.Ratio != nil {
				few, enough = few || c.Ratio.Few, enough || !c.Ratio.Few
			}
		}
	}
	switch {
	case few && enough:
		return usual + ", or with a side of fewer than " + strconv.Itoa(fewRounds) + " rounds their whole range"
	case few:
		return fmt.Sprintf("whole range: fewer than %d rounds have no 95 %% interval", fewRounds)
	}
	return usual
}

// textRow shows one workload, a line a side, with a bar where there is room.
func (r *Report) textRow(b *strings.Builder, s Style, row *Row, sides []string) {
	fmt.Fprintf(b, "  %s\n", fit(row.Name+": "+row.About, s.Width-2))
	if why := row.nobody(sides); why != "" {
		fmt.Fprintf(b, "    %s\n", s.faint(fit("not run: "+why, s.Width-4)))
		return
	}
	largest, name := 0.0, 0
	for _, side := range sides {
		name = max(name, utf8.RuneCountInString(side))
		if c := row.cell(side); c != nil && c.Summary != nil {
			largest = max(largest, c.Summary.Median)
		}
	}
	for _, side := range sides {
		c := row.cell(side)
		if c == nil {
			continue
		}
		if c.Summary == nil {
			fmt.Fprintf(b, "    %-*s  %s\n", name, side, s.faint(fit(c.Why, s.Width-name-6)))
			continue
		}
		line := fmt.Sprintf("    %-*s  %10s  [%s … %s]", name, side, value(c.Summary.Median, row.Unit), value(c.Summary.Low, row.Unit), value(c.Summary.High, row.Unit))
		ratio := ""
		if c.Ratio != nil {
			ratio = "no difference"
			if c.Ratio.Differs {
				ratio = fmt.Sprintf("x %s (%s–%s)", factor(c.Ratio.Value), factor(c.Ratio.Low), factor(c.Ratio.High))
			}
		}
		used := utf8.RuneCountInString(line)
		line += strings.Repeat(" ", max(1, name+42-used)) + ratio
		if room := s.Width - name - 42 - 24; room >= 10 && largest > 0 {
			line += strings.Repeat(" ", max(1, name+42+22-utf8.RuneCountInString(line))) + strings.Repeat("▄", int(float64(room)*c.Summary.Median/largest+0.5))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if costs := row.textCosts(sides); costs != "" {
		wrap(b, costs, "    ", "      ", s.Width)
	}
}

// onDisk says that the workload is about the host's disk.
func (row *Row) onDisk() bool {
	for _, k := range work.Kinds() {
		if k.Name == row.Name {
			return k.Disk
		}
	}
	return false
}

// textCosts is what a table cannot leave out of what a workload cost the host:
// the disk, and a guest's processors that were not there.
func (row *Row) textCosts(sides []string) string {
	var disk, stolen []string
	for _, side := range sides {
		c := row.cell(side)
		if c == nil || c.Summary == nil || c.Cost == nil {
			continue
		}
		if c.Cost.WrittenBytes != nil && row.onDisk() {
			disk = append(disk, fmt.Sprintf("%s %s written, %s read, %.0f operations",
				side, size(*c.Cost.WrittenBytes), size(*c.Cost.ReadBytes), *c.Cost.Operations))
		}
		if v := c.Cost.Steal; v != nil && *v > 0.005 {
			stolen = append(stolen, fmt.Sprintf("%s %.0f %%", side, *v*100))
		}
	}
	var lines []string
	if len(disk) > 0 {
		lines = append(lines, "on the host's disk: "+strings.Join(disk, "; "))
	}
	if len(stolen) > 0 {
		lines = append(lines, "processor time stolen: "+strings.Join(stolen, ", "))
	}
	return strings.Join(lines, "; ")
}

// textGrowth shows many at once, a line for each N.
func (r *Report) textGrowth(b *strings.Builder, s Style) {
	if len(r.Growth) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", s.bold("many at once"))
	fmt.Fprintf(b, "  %-14s %5s  %12s  %12s  %s\n", "", "N", "all up after", "memory each", "work of all together")
	for _, g := range r.Growth {
		first := 0.0
		for _, p := range g.Points {
			work := ""
			if p.Work > 0 {
				if first == 0 {
					first = p.Work / float64(p.N)
				}
				work = fmt.Sprintf("x %s of one", factor(p.Work/first))
			}
			fmt.Fprintf(b, "  %-14s %5d  %12s  %12s  %s\n", g.Side, p.N, value(p.StartSeconds*1e3, "ms"), size(p.MemoryBytes), work)
		}
		if g.Why != "" {
			fmt.Fprintf(b, "  %-14s %s\n", g.Side, s.faint(fit(g.Why, s.Width-18)))
		}
	}
}

// isolationRow is one thing that is counted.
type isolationRow struct {
	name string
	of   func(*SideInfo) string
}

// isolationRows are what lies between the application and the host. To add
// one: a row.
func isolationRows() []isolationRow {
	yes := func(v *bool) string {
		switch {
		case v == nil:
			return "?"
		case *v:
			return "yes"
		}
		return "no"
	}
	number := func(v *int) string {
		if v == nil {
			return "?"
		}
		return fmt.Sprint(*v)
	}
	return []isolationRow{
		{"a kernel bug inside is one outside", func(s *SideInfo) string { return yes(s.Isolation.SameKernel) }},
		{"host system calls within reach", func(s *SideInfo) string {
			if s.Isolation.SystemCalls == nil {
				return "?"
			}
			return fmt.Sprintf("%d/%d", *s.Isolation.SystemCalls, s.Isolation.AllSystemCalls)
		}},
		{"of which process", func(s *SideInfo) string { return s.Isolation.Boundary }},
		{"its namespaces of its own, of 8", func(s *SideInfo) string { return number(s.Isolation.Namespaces) }},
		{"its capabilities on the host", func(s *SideInfo) string { return number(s.Isolation.HostCapabilities) }},
		{"its uid is the host's root", func(s *SideInfo) string { return yes(s.Isolation.HostRoot) }},
		{"its Landlock rights, rules, scopes", func(s *SideInfo) string {
			l := s.Isolation.Landlock
			if l == nil {
				return "?"
			}
			return fmt.Sprintf("%d, %d, %d", l.Rights, l.Rules, l.Scopes)
		}},
		{"no new privileges", func(s *SideInfo) string { return yes(s.Isolation.NoNewPrivs) }},
		{"capabilities inside", func(s *SideInfo) string { return fmt.Sprint(s.Inside.Capabilities) }},
		{"device nodes (disks) inside", func(s *SideInfo) string { return fmt.Sprintf("%d (%d)", s.Inside.Devices, s.Inside.BlockDevices) }},
		{"file systems mounted inside", func(s *SideInfo) string { return fmt.Sprint(s.Inside.Mounts) }},
		{"directories of private data seen", func(s *SideInfo) string { return fmt.Sprint(s.Inside.HostFiles) }},
	}
}

// isolated lists the sides of which something is known.
func (r *Report) isolated(sides []string) []*SideInfo {
	var out []*SideInfo
	for _, name := range sides {
		if s := r.side(name); s != nil && s.Isolation != nil && s.Inside != nil {
			out = append(out, s)
		}
	}
	return out
}

func (r *Report) textIsolation(b *strings.Builder, s Style, sides []string) {
	known := r.isolated(sides)
	if len(known) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", s.bold("isolation"))
	const label, column = 36, 11
	perTable := max(1, (s.Width-label-2)/column)
	for from := 0; from < len(known); from += perTable {
		part := known[from:min(len(known), from+perTable)]
		fmt.Fprintf(b, "  %-*s", label, "")
		for _, side := range part {
			fmt.Fprintf(b, "%*s", column, fit(side.Name, column-1))
		}
		b.WriteString("\n")
		for _, row := range isolationRows() {
			fmt.Fprintf(b, "  %-*s", label, row.name)
			for _, side := range part {
				fmt.Fprintf(b, "%*s", column, fit(row.of(side), column-1))
			}
			b.WriteString("\n")
		}
	}
}

// fit cuts text to width columns.
func fit(text string, width int) string {
	text = strings.ReplaceAll(text, "\n", " ")
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(0, width-1)]) + "…"
}

// wrap writes text in lines of at most width columns.
func wrap(b *strings.Builder, text, first, rest string, width int) {
	line := first
	used := false
	for word := range strings.FieldsSeq(text) {
		if used && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line, used = rest, false
		}
		if used {
			line += " "
		}
		line += word
		used = true
	}
	b.WriteString(line + "\n")
}
