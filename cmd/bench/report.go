package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
)

// A result is one line of the table, and one object of the JSON. The figures are
// in Unit, Value is what is held against Target: the median of the ratios of
// the pairs, of their differences, or of ours alone.
type result struct {
	Name       string    `json:"name"`
	What       string    `json:"what"`
	Unit       string    `json:"unit"`
	Runs       int       `json:"runs"`
	Ours       float64   `json:"ours_median"`
	OursSpread float64   `json:"ours_iqr"`
	Peer       string    `json:"peer"`
	Theirs     float64   `json:"peer_median"`
	PeerSpread float64   `json:"peer_iqr"`
	Compared   string    `json:"compared"`
	Value      float64   `json:"value"`
	Low        float64   `json:"value_low"`
	High       float64   `json:"value_high"`
	Target     float64   `json:"target"`
	Aim        float64   `json:"aim"`
	Met        bool      `json:"met"`
	Error      string    `json:"error,omitempty"`
	Missing    bool      `json:"peer_missing,omitempty"`
	OursAll    []float64 `json:"ours_samples"`
	PeerAll    []float64 `json:"peer_samples"`

	compare comparison
}

// faulty tells a row that should have been measured and was not.
func (r result) faulty() bool { return r.Error != "" && !r.Missing }

func (r row) summarize(s samples, err error) result {
	out := result{
		Name: r.name, What: r.what, Unit: r.unit, Peer: s.peerName, Target: r.target, Aim: r.aim, compare: r.compare,
		Compared: [...]string{ratio: "ratio", difference: "difference", absolute: "absolute"}[r.compare],
	}
	if err == nil && len(s.ours) == 0 {
		err = errors.New("no sample")
	}
	if err != nil {
		// A figure beside an error would be taken for one.
		var missing missingPeer
		out.Missing = errors.As(err, &missing)
		out.Error = err.Error()
		return out
	}
	paired := s.paired(r.compare)
	out.Runs, out.OursAll, out.PeerAll = len(s.ours), s.ours, s.peer
	out.Ours, out.OursSpread = median(s.ours), spread(s.ours)
	out.Theirs, out.PeerSpread = median(s.peer), spread(s.peer)
	out.Value = median(paired)
	out.Low, out.High = interval(paired)
	out.Met = r.target == 0 || out.Value <= r.target
	return out
}

// report writes the machine and the table, or one JSON object with both.
func report(w io.Writer, m machine, results []result, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(struct {
			Machine machine  `json:"machine"`
			Rows    []result `json:"rows"`
		}{m, results})
	}
	fmt.Fprintf(w, "%s, %d cores, Linux %s, load %s before the start\n\n", m.CPU, m.Cores, m.Kernel, m.Load)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tours (IQR)\tpeer\tpeer's (IQR)\tratio [95 %]\ttarget\tmet?")
	for _, r := range results {
		fmt.Fprintln(t, strings.Join(r.cells(), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return reportMissing(w, results)
}

// cells are the columns of the row. A row without a figure gives its reason.
func (r result) cells() []string {
	switch {
	case r.Missing:
		return []string{r.What, "-", r.Error, "-", "-", r.limit(), "not measured"}
	case r.Error != "":
		return []string{r.What, "error", r.Peer, "-", "-", r.limit(), "NO: " + r.Error}
	}
	theirs := "-"
	if r.compare != absolute {
		theirs = fmt.Sprintf("%s %s (%s)", number(r.Theirs), r.Unit, number(r.PeerSpread))
	}
	return []string{
		r.What, fmt.Sprintf("%s %s (%s)", number(r.Ours), r.Unit, number(r.OursSpread)),
		r.Peer, theirs, r.value(), r.limit(), r.verdict(),
	}
}

func (r result) value() string {
	unit := ""
	format := "%.2f"
	switch r.compare {
	case ratio:
	case difference:
		unit, format = " "+r.Unit, "%+.2f"
	case absolute:
		unit = " " + r.Unit
	}
	return fmt.Sprintf(format+" ["+format+", "+format+"]%s", r.Value, r.Low, r.High, unit)
}

func (r result) limit() string {
	if r.Target == 0 {
		return "-"
	}
	text := "≤ " + number(r.Target)
	if r.compare != ratio {
		text += " " + r.Unit
	}
	if r.Aim != 0 {
		text += ", aim " + number(r.Aim)
	}
	return text
}

func (r result) verdict() string {
	switch {
	case r.Target == 0:
		return "-"
	case !r.Met:
		return "NO"
	case r.Aim != 0 && r.Value <= r.Aim:
		return "yes, and the aim"
	default:
		return "yes"
	}
}

// number writes three figures that count.
func number(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return strings.TrimSuffix(fmt.Sprintf("%.2f", x), ".00")
	}
}

func reportMissing(w io.Writer, results []result) error {
	seen := map[string]bool{}
	for _, r := range results {
		if r.Missing && !seen[r.Error] {
			seen[r.Error] = true
			if _, err := fmt.Fprintln(w, "\nmissing peer:", r.Error); err != nil {
				return err
			}
		}
	}
	return nil
}

// A machine is what the figures come from.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Load   string `json:"load"`
}

// thisMachine is to be asked before the first row: later the load is our own.
func thisMachine() machine {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return machine{CPU: cpuModel(), Cores: runtime.NumCPU(), Kernel: strings.TrimSpace(string(release)), Load: loadAverage()}
}

func loadAverage() string {
	data, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(data))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
