package compare

import (
	_ "embed"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// style is the look of the page: no font, picture or script from elsewhere.
//
//go:embed report.css
var style string

// A page is written as HTML.
type page struct{ strings.Builder }

// f writes markup with foreign words in it: every argument is escaped.
func (p *page) f(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = escape(s)
		}
	}
	fmt.Fprintf(p, format, args...)
}

func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch r {
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '"':
			b.WriteString("&#34;")
		case '\'':
			b.WriteString("&#39;")
		case 0:
			b.WriteString("\uFFFD")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// WriteHTML writes the report as one page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	p := &page{}
	title := "the built-in workloads"
	if len(r.Command) > 0 {
		title = strings.Join(r.Command, " ")
	}
	p.f("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n")
	p.f("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
	p.f("<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>hutch compare: %s</title>\n<style>", title)
	p.WriteString(style)
	p.f("</style></head>\n<body><main>\n<h1>hutch compare: %s</h1>\n", title)
	m := r.Machine
	p.f("<p class=\"lead\">%s, %d processors, %s of memory, %s. %s, %s.</p>\n",
		m.Processor, m.Processors, size(m.MemoryBytes), m.Kernel, r.rounds(), r.Made.Format(time.DateTime+" MST"))
	if r.Interrupted {
		p.f("<p class=\"warning\">Interrupted: this is what had been measured by then.</p>\n")
	}
	p.f("<section><h2>What this says</h2>\n<ul>")
	for _, s := range r.Says() {
		p.f("<li>%s</li>\n", s)
	}
	p.f("</ul></section>\n")
	p.rows(r)
	p.growth(r)
	p.isolation(r)
	p.disclosure(r)
	p.f("</main></body></html>\n")
	_, err := io.WriteString(w, p.String())
	return err
}

// rows draws each workload as bars with their spread.
func (p *page) rows(r *Report) {
	sides := r.ran()
	p.legend(r, sides)
	group := ""
	for i := range r.Rows {
		row := &r.Rows[i]
		if len(row.Cells) == 0 {
			continue
		}
		if row.Group != group {
			if group != "" {
				p.f("</div></section>\n")
			}
			group = row.Group
			p.f("<section><h2>%s</h2><div class=\"grid\">\n", group)
		}
		p.bars(r, row, sides)
	}
	if group != "" {
		p.f("</div></section>\n")
	}
}

func (p *page) legend(r *Report, sides []string) {
	p.f("<p class=\"legend\">")
	for i, s := range sides {
		p.f("<span><i class=\"s%d\"></i>%s</span> ", i%8, s)
	}
	p.f("</p>\n<p class=\"note\">Bars are medians, the thin line is the middle half of the rounds. Ratios are to %s, with their %s; a difference within the noise is written as none.</p>\n", r.Reference, r.interval())
}

// The measures of a chart, in the units of its viewBox.
const (
	chartWidth  = 520
	labelWidth  = 110
	barWidth    = 180
	lineHeight  = 24
	valueOffset = labelWidth + barWidth + 10
)

// bars draws one workload.
func (p *page) bars(r *Report, row *Row, sides []string) {
	better := "less is better"
	if row.Higher {
		better = "more is better"
	}
	p.f("<figure data-workload=\"%s\"><figcaption><b>%s</b> %s <small>(%s)</small></figcaption>\n", row.Name, row.Name, row.About, better)
	if why := row.nobody(sides); why != "" {
		p.f("<p class=\"why\">not run: %s</p></figure>\n", why)
		return
	}
	largest := 0.0
	for _, s := range sides {
		if c := row.cell(s); c != nil && c.Summary != nil {
			largest = max(largest, c.Summary.High, c.Summary.Median)
		}
	}
	// More than a thousandfold is drawn by its logarithm, and says so.
	log := row.wide(sides)
	at := func(v float64) float64 {
		if largest == 0 || v <= 0 {
			return 0
		}
		if log {
			return barWidth * max(0.02, 1+math.Log10(v/largest)/6)
		}
		return barWidth * v / largest
	}
	p.f("<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", chartWidth, len(sides)*lineHeight+4, row.Name)
	for i, s := range sides {
		c, y := row.cell(s), i*lineHeight
		p.f("<text class=\"label\" x=\"%d\" y=\"%d\">%s</text>", labelWidth-6, y+16, fit(s, 16))
		if c == nil || c.Summary == nil {
			why := "not run"
			if c != nil {
				why = c.Why
			}
			p.f("<text class=\"why\" x=\"%d\" y=\"%d\">%s<title>%s</title></text>\n", labelWidth, y+16, fit(why, 52), why)
			continue
		}
		q := c.Summary
		p.f("<rect class=\"s%d\" data-side=\"%s\" data-median=\"%g\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"14\"><title>%s: %s, middle half %s to %s, %d rounds</title></rect>",
			i%8, s, q.Median, labelWidth, y+5, at(q.Median), s, value(q.Median, row.Unit), value(q.Low, row.Unit), value(q.High, row.Unit), len(c.Samples))
		p.f("<line class=\"spread\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", labelWidth+at(q.Low), labelWidth+at(q.High), y+12, y+12)
		p.f("<text x=\"%d\" y=\"%d\">%s", valueOffset, y+16, value(q.Median, row.Unit))
		if c.Ratio != nil {
			p.f(" <tspan class=\"ratio\">%s</tspan>", c.Ratio.short())
		}
		p.f("</text>\n")
	}
	p.f("</svg>")
	if log {
		p.f("<p class=\"note\">drawn by the logarithm</p>")
	}
	p.costs(row, sides)
	p.f("</figure>\n")
}

// short is a ratio in the space beside a bar.
func (q *Ratio) short() string {
	if !q.Differs {
		return "no difference"
	}
	return "×" + factor(q.Value) + " (" + factor(q.Low) + "–" + factor(q.High) + ")"
}

// wide says that the largest median is more than a thousand of the smallest.
func (row *Row) wide(sides []string) bool {
	least, most := math.Inf(1), 0.0
	for _, s := range sides {
		if c := row.cell(s); c != nil && c.Summary != nil && c.Summary.Median > 0 {
			least, most = min(least, c.Summary.Median), max(most, c.Summary.Median)
		}
	}
	return most > 1000*least
}

// nobody is why no side ran the workload, where all say the same.
func (row *Row) nobody(sides []string) string {
	why := ""
	for _, s := range sides {
		c := row.cell(s)
		if c == nil {
			continue
		}
		if c.Summary != nil || why != "" && c.Why != why {
			return ""
		}
		why = c.Why
	}
	return why
}

// costs shows what a workload cost the host.
func (p *page) costs(row *Row, sides []string) {
	var lines []string
	for _, s := range sides {
		c := row.cell(s)
		if c == nil || c.Cost == nil || c.Summary == nil {
			continue
		}
		line := s + ":"
		if v := c.Cost.CPUSeconds; v != nil {
			line += fmt.Sprintf(" %.2f processors busy", *v)
		}
		if v := c.Cost.WrittenBytes; v != nil && row.onDisk() {
			line += fmt.Sprintf(", %s written and %s read on the host's disk in %.0f operations, page cache %+.1f MiB",
				size(*v), size(*c.Cost.ReadBytes), *c.Cost.Operations, *c.Cost.PageCacheBytes/(1<<20))
		}
		if v := c.Cost.Steal; v != nil && *v > 0.005 {
			line += fmt.Sprintf(", %.0f %% of its time stolen", *v*100)
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return
	}
	p.f("<details><summary>what it cost the host</summary><ul>")
	for _, l := range lines {
		p.f("<li>%s</li>", l)
	}
	p.f("</ul></details>")
}

// growth draws time and memory over N.
func (p *page) growth(r *Report) {
	if len(r.Growth) == 0 {
		return
	}
	p.f("<section><h2>Many at once</h2><div class=\"grid\">\n")
	p.curve(r, "Time until all of N are up", "ms", func(g GrowthPoint) float64 { return g.StartSeconds * 1e3 })
	p.curve(r, "Memory of each", "B", func(g GrowthPoint) float64 { return g.MemoryBytes })
	p.curve(r, "Work of all N together, of one's", "x", func(g GrowthPoint) float64 { return g.Work })
	p.f("</div>")
	for _, g := range r.Growth {
		if g.Why != "" {
			p.f("<p class=\"note\">%s ends there: %s</p>\n", g.Side, g.Why)
		}
	}
	p.f("</section>\n")
}

// curve draws one value over N, both by their logarithm.
func (p *page) curve(r *Report, title, unit string, of func(GrowthPoint) float64) {
	const left, right, top, bottom = 60.0, 20.0, 10.0, 30.0
	const height = 220.0
	least, most, many := math.Inf(1), 0.0, 1
	points := func(g Growth) []GrowthPoint {
		var out []GrowthPoint
		for _, q := range g.Points {
			if of(q) > 0 {
				out = append(out, q)
			}
		}
		return out
	}
	scaled := func(g Growth, q GrowthPoint) float64 {
		if unit == "x" {
			first := points(g)[0]
			return of(q) / (of(first) / float64(first.N))
		}
		return of(q)
	}
	for _, g := range r.Growth {
		for _, q := range points(g) {
			least, most, many = min(least, scaled(g, q)), max(most, scaled(g, q)), max(many, q.N)
		}
	}
	if most == 0 {
		return
	}
	if least == most {
		least /= 2
	}
	x := func(n int) float64 {
		if many == 1 {
			return left
		}
		return left + (chartWidth-left-right)*math.Log(float64(n))/math.Log(float64(many))
	}
	y := func(v float64) float64 {
		return top + (height-top-bottom)*(1-math.Log(v/least)/math.Log(most/least))
	}
	show := func(v float64) string {
		switch unit {
		case "B":
			return size(v)
		case "x":
			return "×" + factor(v)
		}
		return value(v, unit)
	}
	p.f("<figure data-curve=\"%s\"><figcaption><b>%s</b> <small>(both axes by the logarithm)</small></figcaption>\n<svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"%s\">\n", title, title, chartWidth, height, title)
	p.f("<path class=\"axis\" d=\"M%.1f %.1fV%.1fH%.1f\"/>", left, top, height-bottom, chartWidth-right)
	for _, v := range []float64{least, math.Sqrt(least * most), most} {
		p.f("<text class=\"label\" x=\"%.1f\" y=\"%.1f\">%s</text>", left-6, y(v)+4, show(v))
	}
	for n := 1; n <= many; n *= 2 {
		p.f("<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">%d</text>", x(n), height-bottom+16, n)
	}
	sides := r.ran()
	for _, g := range r.Growth {
		class := 0
		for i, s := range sides {
			if s == g.Side {
				class = i % 8
			}
		}
		var line strings.Builder
		for _, q := range points(g) {
			fmt.Fprintf(&line, "%.1f,%.1f ", x(q.N), y(scaled(g, q)))
		}
		p.f("<polyline class=\"c%d\" points=\"%s\"/>", class, strings.TrimSpace(line.String()))
		for _, q := range points(g) {
			p.f("<circle class=\"s%d\" data-side=\"%s\" data-n=\"%d\" data-value=\"%g\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%s: %d: %s</title></circle>", class, g.Side, q.N, scaled(g, q), x(q.N), y(scaled(g, q)), g.Side, q.N, show(scaled(g, q)))
		}
	}
	p.f("</svg></figure>\n")
}

func (p *page) isolation(r *Report) {
	known := r.isolated(r.ran())
	if len(known) == 0 {
		return
	}
	p.f("<section><h2>Isolation, counted</h2><div class=\"scroll\"><table><tr><th></th>")
	for _, s := range known {
		p.f("<th>%s</th>", s.Name)
	}
	p.f("</tr>\n")
	for _, row := range isolationRows() {
		p.f("<tr><th>%s</th>", row.name)
		for _, s := range known {
			p.f("<td>%s</td>", row.of(s))
		}
		p.f("</tr>\n")
	}
	p.f("</table></div><p class=\"note\">? is what could not be found out, as without root.</p></section>\n")
}

// disclosure lists everything that the numbers depend on.
func (p *page) disclosure(r *Report) {
	m := r.Machine
	p.f("<section><h2>Disclosure</h2><div class=\"scroll\"><table>\n")
	line := func(key, text string) {
		if text == "" {
			text = "unknown"
		}
		p.f("<tr><th>%s</th><td class=\"code\">%s</td></tr>\n", key, text)
	}
	line("hutch", r.Hutch)
	line("root", r.Root)
	line("options of every engine", strings.Join(r.Options, " ")+" ")
	limits := r.Limits.String()
	if limits == "" {
		limits = "none, but that a guest has the memory and the processors of its options"
	}
	line("limits of every side", limits)
	line("kernel", m.Kernel)
	line("its command line", m.CommandLine)
	line("processor", fmt.Sprintf("%s, %d of them", m.Processor, m.Processors))
	line("a virtual machine itself", fmt.Sprint(m.Hypervisor))
	line("mitigations", strings.Join(m.Mitigations, "; "))
	line("governor", m.Governor)
	line("memory", size(m.MemoryBytes))
	line("disk", m.FileSystem+" on "+m.Disk)
	line("cgroup", m.Cgroup)
	line("/dev/kvm opens", fmt.Sprint(m.KVM))
	line("load before", m.Load)
	p.f("</table></div>\n")
	for _, s := range r.Sides {
		p.f("<details><summary>%s (%s) %s</summary>", s.Name, s.Kind, s.Version)
		if s.Why != "" {
			p.f("<p class=\"why\">did not take part: %s</p>", s.Why)
		}
		p.f("<pre>%s</pre>", strings.Join(s.CommandLine, " "))
		if s.Profile != "" {
			p.f("<p>profile %s</p>", s.Profile)
		}
		if s.Inside != nil {
			p.f("<p>inside: %s, %d processors, %s; kernel command line</p><pre>%s</pre>", s.Inside.Kernel, s.Inside.Processors, size(float64(s.Inside.MemoryBytes)), s.Inside.CommandLine)
		}
		if len(s.Processes) > 0 {
			p.f("<p>processes on the host while it ran</p>")
			for _, argv := range s.Processes {
				p.f("<pre>%s</pre>", strings.Join(argv, " "))
			}
		}
		p.f("</details>\n")
	}
	p.f("</section>\n")
}
