package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// ReportVersion is the version of the report's JSON form.
const ReportVersion = 1

// A Report is what a comparison found, with every sample.
type Report struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
	Hutch   string    `json:"hutch"`
	// Command is empty where the built-in workloads were run.
	Command []string `json:"command"`
	Root    string   `json:"root"`
	Rounds  int      `json:"rounds"`
	// MoreRounds is how many those sides had of which a round is cheap; 0 for no
	// more than the others.
	MoreRounds int `json:"more_rounds"`
	// Options are the options of hutch run that every engine was given.
	Options []string `json:"options"`
	// Limits are those that every side was given.
	Limits Limits `json:"limits"`
	// Interrupted says that it was stopped early.
	Interrupted bool    `json:"interrupted"`
	Machine     Machine `json:"machine"`
	// Reference is the side that the ratios are taken to.
	Reference string     `json:"reference"`
	Sides     []SideInfo `json:"sides"`
	Rows      []Row      `json:"rows"`
	Growth    []Growth   `json:"growth"`
}

// SideInfo discloses one way of running.
type SideInfo struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"` // bare, engine or peer
	Version string `json:"version"`
	// Why says why it did not take part; empty when it did.
	Why string `json:"why"`
	// CommandLine is how it was started; Processes are the command lines of
	// what ran on the host while it did: QEMU's and UML's with all their options.
	CommandLine []string   `json:"command_line"`
	Processes   [][]string `json:"processes"`
	// Profile is the profile of an engine's side, with the digest of its filter.
	Profile string `json:"profile"`
	// Inside is what the application sees.
	Inside    *Inside    `json:"inside"`
	Isolation *Isolation `json:"isolation"`
	// Outcome is what the command said, where one was run.
	Outcome *Outcome `json:"outcome"`
}

// An Outcome is the end of a command.
type Outcome struct {
	ExitCode     int    `json:"exit_code"`
	OutputSHA256 string `json:"output_sha256"`
	OutputBytes  int64  `json:"output_bytes"`
}

// A Row is one workload on every side.
type Row struct {
	Name   string `json:"name"`
	Group  string `json:"group"`
	Unit   string `json:"unit"`
	About  string `json:"about"`
	Higher bool   `json:"higher_is_better"`
	Cells  []Cell `json:"cells"`
}

// A Cell is one workload on one side.
type Cell struct {
	Side    string    `json:"side"`
	Samples []float64 `json:"samples"`
	Summary *Summary  `json:"summary"`
	Ratio   *Ratio    `json:"ratio"`
	// Why says why there are no samples.
	Why  string `json:"why"`
	Cost *Cost  `json:"cost"`
}

// A Cost is what a workload cost the host, medians over the rounds; nil is
// what could not be measured.
type Cost struct {
	// CPUSeconds is the processor time of all processes of the side, per second
	// of the wall.
	CPUSeconds *float64 `json:"cpu_per_second"`
	// Bytes and operations that reached the host's disk meanwhile, whoever asked
	// for them.
	ReadBytes    *float64 `json:"disk_read_bytes"`
	WrittenBytes *float64 `json:"disk_written_bytes"`
	Operations   *float64 `json:"disk_operations"`
	// PageCacheBytes is by how much the host's page cache grew.
	PageCacheBytes *float64 `json:"page_cache_bytes"`
	// Steal is the part of its processors' time that a guest was not given.
	Steal *float64 `json:"steal"`
}

// Growth is how a side does with many at once.
type Growth struct {
	Side   string        `json:"side"`
	Points []GrowthPoint `json:"points"`
	// Why says why it ended where it did.
	Why string `json:"why"`
}

// A GrowthPoint is N of a side at once.
type GrowthPoint struct {
	N int `json:"n"`
	// StartSeconds is until all N idle ones had said that they run.
	StartSeconds float64 `json:"start_seconds"`
	// MemoryBytes is the proportional share (PSS) of all their processes on the
	// host, divided by N.
	MemoryBytes float64 `json:"memory_bytes_each"`
	// Work is what the N did together when all worked, in operations a second;
	// 0 where that was not measured.
	Work float64 `json:"work_per_second"`
}

// Read reads a report that an earlier run wrote.
func Read(name string) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// maxReport is more than a report of every workload with thousands of rounds.
const maxReport = 64 << 20

func decode(in io.Reader) (*Report, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxReport+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxReport {
		return nil, errors.New("larger than any report: it was not written by hutch compare --json")
	}
	var version struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("not a report of hutch compare --json: %w", err)
	}
	if version.Version == nil || *version.Version != ReportVersion {
		found := "none"
		if version.Version != nil {
			found = fmt.Sprint(*version.Version)
		}
		return nil, fmt.Errorf("report version %s, this hutch reads version %d: make it again with this hutch", found, ReportVersion)
	}
	r := &Report{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("not a report of hutch compare --json: %w", err)
	}
	return r, r.check()
}

// check keeps what a foreign file says within what the rendering can show.
func (r *Report) check() error {
	for _, row := range r.Rows {
		for _, c := range row.Cells {
			if r.side(c.Side) == nil {
				return fmt.Errorf("workload %q has a side %q that the report does not describe", row.Name, c.Side)
			}
			for _, s := range c.Samples {
				if s < 0 {
					return fmt.Errorf("workload %q has a sample of %g on %q: less than nothing", row.Name, s, c.Side)
				}
			}
		}
	}
	const most = 1 << 20
	for _, g := range r.Growth {
		for _, p := range g.Points {
			if p.N < 1 || p.N > most || p.StartSeconds < 0 || p.MemoryBytes < 0 || p.Work < 0 {
				return fmt.Errorf("many at once of %q: %+v cannot have been measured", g.Side, p)
			}
		}
	}
	return nil
}

// side is the side called name, or nil.
func (r *Report) side(name string) *SideInfo {
	for i := range r.Sides {
		if r.Sides[i].Name == name {
			return &r.Sides[i]
		}
	}
	return nil
}

// cell is the cell of a side in a row, or nil.
func (row *Row) cell(side string) *Cell {
	for i := range row.Cells {
		if row.Cells[i].Side == side {
			return &row.Cells[i]
		}
	}
	return nil
}

// finish computes what follows from the samples.
func (r *Report) finish() {
	for i := range r.Rows {
		row := &r.Rows[i]
		reference := row.cell(r.Reference)
		for j := range row.Cells {
			c := &row.Cells[j]
			if len(c.Samples) == 0 {
				continue
			}
			s := summarize(c.Samples)
			c.Summary = &s
			if reference != nil && c.Side != r.Reference {
				c.Ratio = compareSamples(c.Samples, reference.Samples)
			}
		}
	}
}

// Write writes the report as JSON.
func (r *Report) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// Merge puts several reports side by side: each side's name gets that of its
// report in front. The ratios are to the first report's reference.
func Merge(names []string, reports []*Report) *Report {
	if len(reports) == 1 {
		return reports[0]
	}
	out := *reports[0]
	out.Sides, out.Rows, out.Growth = nil, nil, nil
	out.Reference = names[0] + ": " + reports[0].Reference
	index := map[string]int{}
	for i, r := range reports {
		prefix := names[i] + ": "
		for _, s := range r.Sides {
			s.Name = prefix + s.Name
			out.Sides = append(out.Sides, s)
		}
		for _, g := range r.Growth {
			g.Side = prefix + g.Side
			out.Growth = append(out.Growth, g)
		}
		for _, row := range r.Rows {
			at, ok := index[row.Name]
			if !ok {
				at = len(out.Rows)
				index[row.Name] = at
				head := row
				head.Cells = nil
				out.Rows = append(out.Rows, head)
			}
			for _, c := range row.Cells {
				c.Side, c.Ratio = prefix+c.Side, nil
				out.Rows[at].Cells = append(out.Rows[at].Cells, c)
			}
		}
	}
	out.finish()
	return &out
}
