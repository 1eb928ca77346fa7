package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Says is what the report says in sentences. Each is computed from the
// numbers; where there are none it is left out.
func (r *Report) Says() []string {
	var out []string
	for _, f := range []func(*Report) []string{saysSkipped, saysOutcome, saysStart, saysSame, saysCalls, saysDisk, saysLocks, saysMany, saysIsolation} {
		out = append(out, f(r)...)
	}
	return out
}

// ran lists the sides that took part, the reference first.
func (r *Report) ran() []string {
	var out []string
	for _, s := range r.Sides {
		if s.Why == "" && s.Name != r.Reference {
			out = append(out, s.Name)
		}
	}
	if s := r.side(r.Reference); s != nil && s.Why == "" {
		out = append([]string{r.Reference}, out...)
	}
	return out
}

// row is the row called name, or nil.
func (r *Report) row(name string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Name == name {
			return &r.Rows[i]
		}
	}
	return nil
}

func saysSkipped(r *Report) []string {
	var out []string
	for _, s := range r.Sides {
		if s.Why != "" {
			out = append(out, fmt.Sprintf("%s did not take part: %s.", s.Name, strings.TrimSuffix(s.Why, ".")))
		}
	}
	return out
}

// saysOutcome compares what the command did on each side.
func saysOutcome(r *Report) []string {
	reference := r.side(r.Reference)
	if reference == nil || reference.Outcome == nil {
		return nil
	}
	var same, different []string
	for _, name := range r.ran() {
		o := r.side(name).Outcome
		switch {
		case o == nil || name == r.Reference:
		case *o == *reference.Outcome:
			same = append(same, name)
		default:
			different = append(different, fmt.Sprintf("%s exits with %d and writes %d bytes", name, o.ExitCode, o.OutputBytes))
		}
	}
	var out []string
	if len(same) > 0 {
		out = append(out, fmt.Sprintf("The command exits with %d and writes the same %d bytes on %s.", reference.Outcome.ExitCode, reference.Outcome.OutputBytes, join(append([]string{r.Reference}, same...))))
	}
	if len(different) > 0 {
		out = append(out, fmt.Sprintf("The result is not the same everywhere: %s exits with %d and writes %d bytes, %s.", r.Reference, reference.Outcome.ExitCode, reference.Outcome.OutputBytes, join(different)))
	}
	return out
}

// saysStart is about the time to the first instruction.
func saysStart(r *Report) []string {
	row := r.row("start-first")
	if row == nil {
		row = r.row("whole run")
	}
	if row == nil {
		return nil
	}
	var parts []string
	for _, name := range r.ran() {
		c := row.cell(name)
		if c == nil || c.Summary == nil {
			continue
		}
		part := fmt.Sprintf("%s takes %s", name, value(c.Summary.Median, row.Unit))
		if c.Ratio != nil {
			part += " (" + c.Ratio.words(r.Reference) + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return nil
	}
	what := "To the first instruction of the application"
	if row.Name != "start-first" {
		what = "From start to end"
	}
	return []string{what + " " + join(parts) + "."}
}

// words says what a ratio says, in words.
func (q *Ratio) words(reference string) string {
	switch {
	case !q.Differs:
		return "no difference from " + reference
	case q.Value >= 1:
		return fmt.Sprintf("%s times %s", factor(q.Value), reference)
	default:
		return fmt.Sprintf("%s of %s", factor(q.Value), reference)
	}
}

// saysSame is about what should not differ.
func saysSame(r *Report) []string {
	var out []string
	for _, name := range []string{"integer", "float"} {
		row := r.row(name)
		if row == nil {
			continue
		}
		var same, differ []string
		for _, c := range row.Cells {
			switch {
			case c.Ratio == nil:
			case c.Ratio.Differs:
				differ = append(differ, fmt.Sprintf("%s takes %s times", c.Side, factor(c.Ratio.Value)))
			default:
				same = append(same, c.Side)
			}
		}
		if len(same) > 0 {
			out = append(out, fmt.Sprintf("Computing (%s) shows no difference between %s and %s.", name, r.Reference, join(same)))
		}
		if len(differ) > 0 {
			out = append(out, fmt.Sprintf("Computing (%s) differs: %s what %s does.", name, join(differ), r.Reference))
		}
	}
	return out
}

// saysCalls names, for each side, what it slows most.
func saysCalls(r *Report) []string {
	var out []string
	for _, name := range r.ran() {
		if name == r.Reference {
			continue
		}
		var worst *Row
		most, same, all := 1.0, 0, 0
		for i := range r.Rows {
			row := &r.Rows[i]
			c := row.cell(name)
			if c == nil || c.Ratio == nil || row.Group == "start" || row.Group == "overcommit" || row.Group == "command" {
				continue
			}
			all++
			if !c.Ratio.Differs {
				same++
				continue
			}
			slower := c.Ratio.Value
			if row.Higher && slower > 0 {
				slower = 1 / slower
			}
			if slower > most {
				worst, most = row, slower
			}
		}
		switch {
		case all == 0:
		case worst == nil:
			out = append(out, fmt.Sprintf("On none of %d workloads is %s slower than %s.", all, name, r.Reference))
		default:
			out = append(out, fmt.Sprintf("%s differs from %s on %d of %d workloads; most on %s (%s), where it is %s times slower.", name, r.Reference, all-same, all, worst.Name, worst.About, factor(most)))
		}
	}
	return out
}

// saysDisk is about what reached the host's disk.
func saysDisk(r *Report) []string {
	row := r.row("disk-random-write")
	if row == nil {
		return nil
	}
	var parts []string
	for _, name := range r.ran() {
		c := row.cell(name)
		if c == nil || c.Cost == nil || c.Cost.WrittenBytes == nil || c.Cost.Operations == nil || c.Summary == nil {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s in %.0f operations", name, size(*c.Cost.WrittenBytes), *c.Cost.Operations))
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"While random writes were made durable, what reached the host's disk was: " + join(parts) + ". A side that writes less than it says it did keeps it in memory."}
}

// saysLocks is about a lock whose holder is stopped: what waiting in a loop
// costs, and what giving the processor away saves.
func saysLocks(r *Report) []string {
	spin, yield, futex := r.row("lock-spin"), r.row("lock-yield"), r.row("lock-futex")
	if spin == nil || yield == nil || futex == nil {
		return nil
	}
	var parts []string
	for _, name := range r.ran() {
		s, y, f := spin.cell(name), yield.cell(name), futex.cell(name)
		if s == nil || y == nil || f == nil || s.Summary == nil || y.Summary == nil || f.Summary == nil {
			continue
		}
		part := fmt.Sprintf("on %s a section under a spin lock takes %s, with a yield %s, with a futex %s",
			name, value(s.Summary.Median, spin.Unit), value(y.Summary.Median, yield.Unit), value(f.Summary.Median, futex.Unit))
		if s.Cost != nil && s.Cost.Steal != nil && *s.Cost.Steal > 0.005 {
			part += fmt.Sprintf(" (%.0f %% of its time stolen meanwhile)", *s.Cost.Steal*100)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"With more threads than processors, " + join(parts) + "."}
}

// saysMany is about many at once.
func saysMany(r *Report) []string {
	var out []string
	for _, g := range r.Growth {
		if len(g.Points) == 0 {
			continue
		}
		p := g.Points[len(g.Points)-1]
		s := fmt.Sprintf("%d of %s at once are up after %s and take %s of memory each", p.N, g.Side, value(p.StartSeconds*1e3, "ms"), size(p.MemoryBytes))
		if g.Why != "" {
			s += " (then: " + g.Why + ")"
		}
		out = append(out, s+".")
	}
	return out
}

// saysIsolation is about what would have to be broken.
func saysIsolation(r *Report) []string {
	var out []string
	for _, s := range r.Sides {
		i := s.Isolation
		if s.Why != "" || i == nil || i.SameKernel == nil {
			continue
		}
		text := fmt.Sprintf("On %s the application has a kernel of its own", s.Name)
		if *i.SameKernel {
			text = fmt.Sprintf("On %s the application runs on the host's kernel, so a bug of that kernel is one outside too", s.Name)
		}
		if i.SystemCalls != nil {
			who := "it"
			if !*i.SameKernel {
				who = "what runs it (" + i.Boundary + ")"
			}
			text += fmt.Sprintf("; of the host's %d system calls %s can make %d", i.AllSystemCalls, who, *i.SystemCalls)
		}
		out = append(out, text+".")
	}
	return out
}

// join writes a list with commas and an "and".
func join(list []string) string {
	switch len(list) {
	case 0:
		return ""
	case 1:
		return list[0]
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// factor is a ratio with as many digits as say something.
func factor(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

// A scale is a row of units of which each is so many of the one before.
type scale struct {
	names []string
	step  float64
}

// scaleOf finds the scale of unit and its place there.
func scaleOf(unit string) (scale, int) {
	for _, s := range []scale{{[]string{"ns", "us", "ms", "s"}, 1000}, {[]string{"MB/s", "GB/s"}, 1000}} {
		if i := slices.Index(s.names, unit); i >= 0 {
			return s, i
		}
	}
	return scale{[]string{unit}, 1000}, 0
}

// value writes a number with a unit that suits it, with three digits.
func value(x float64, unit string) string {
	s, i := scaleOf(unit)
	for ; math.Abs(x) >= s.step && i+1 < len(s.names); i++ {
		x /= s.step
	}
	for ; math.Abs(x) < 1 && x != 0 && i > 0; i-- {
		x *= s.step
	}
	return fmt.Sprintf("%s %s", digits(x), s.names[i])
}

func digits(x float64) string {
	switch a := math.Abs(x); {
	case a >= 100:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

// size writes bytes.
func size(x float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; math.Abs(x) >= 1024 && i+1 < len(units); i++ {
		x /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", x)
	}
	return digits(x) + " " + units[i]
}
