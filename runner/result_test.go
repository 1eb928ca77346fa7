package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shape is the keys of a JSON value, nested, with lists as their first value.
func shape(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var keys []string
		for k := range v {
			keys = append(keys, k+shape(v[k]))
		}
		sort.Strings(keys)
		return "{" + strings.Join(keys, " ") + "}"
	case []any:
		if len(v) > 0 {
			return "[" + shape(v[0]) + "]"
		}
		return "[]"
	}
	return ""
}

// The JSON of a Result is the contract's, key by key.
func TestResultShape(t *testing.T) {
	const contract = `{"version":1,"engine":"native","cause":"exited","exit_code":0,"signal":"","message":"",
 "usage":{"wall_seconds":0,"user_seconds":0,"system_seconds":0,"memory_peak_bytes":0,
          "read_bytes":0,"written_bytes":0,"processes_peak":0,"context_switches":0},
 "timing":{"prepare_seconds":0,"start_seconds":0,"run_seconds":0,"cleanup_seconds":0},
 "enforced":{"seccomp":"default@sha256:…","landlock_abi":7,"cgroup":"v2","user_namespace":true,
             "limits":["memory","pids"],"missing":[]},
 "denied":[{"what":"syscall","name":"mount","count":2,"first_seconds":0,"errno":"EPERM","hint":"…"}]}`
	n, f := int64(1), 0.5
	r := Result{
		Version: ResultVersion, Engine: "native",
		Usage:    Usage{&f, &f, &f, &n, &n, &n, &n, &n, Stalled{}},
		Enforced: Enforced{Limits: []string{"memory"}, Missing: []string{}},
		Denied:   []Denial{{What: "syscall"}},
	}
	r.SetExit(0)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal([]byte(contract), &want)); err != nil {
		t.Fatal(err)
	}
	if shape(got) != shape(want) {
		t.Errorf("the shape is\n%s, want\n%s", shape(got), shape(want))
	}
	if got.(map[string]any)["exit_code"] != 0.0 || got.(map[string]any)["cause"] != "exited" {
		t.Errorf("%s", text)
	}
	var back Result
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%v: %+v", err, back)
	}
}

// What could not be measured is null, never 0; lists are never null.
func TestResultNulls(t *testing.T) {
	text, err := json.Marshal(NotStartedResult(errors.New("why")))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range m["usage"].(map[string]any) {
		if v != nil {
			t.Errorf("%s is %v", k, v)
		}
	}
	if m["exit_code"] != nil || m["cause"] != "not-started" || m["message"] != "why" {
		t.Errorf("%s", text)
	}
	enforced := m["enforced"].(map[string]any)
	for k, v := range map[string]any{"limits": enforced["limits"], "missing": enforced["missing"], "denied": m["denied"]} {
		if _, ok := v.([]any); !ok {
			t.Errorf("%s is %v, want a list", k, v)
		}
	}
}

func TestExitStatus(t *testing.T) {
	var exited, killed, late, failed Result
	exited.SetExit(7)
	killed.SetSignal(9, "SIGKILL")
	late.SetExit(0)
	late.Cause = Timeout
	failed = NotStartedResult(errors.New("x"))
	for want, r := range map[int]Result{7: exited, 137: killed, 124: late, 125: failed} {
		if got := r.ExitStatus(); got != want {
			t.Errorf("%s: %d, want %d", r.Cause, got, want)
		}
	}
	for code := range 256 {
		var r Result
		if r.SetExit(code); r.ExitStatus() != code {
			t.Errorf("%d became %d", code, r.ExitStatus())
		}
	}
}

func TestError(t *testing.T) {
	e := &Error{Stage: StageStart, Step: "bind /data", Err: syscall.EACCES, Hint: "chmod", Exit: ExitNotFound}
	wrapped := fmt.Errorf("run: %w", e)
	if e.Error() != "bind /data: permission denied" || !errors.Is(wrapped, syscall.EACCES) || Hint(wrapped) != "chmod" || ExitStatus(wrapped) != 127 {
		t.Errorf("%v %q %d", e, Hint(wrapped), ExitStatus(wrapped))
	}
	for want, e := range map[string]*Error{"x": {Err: errors.New("x")}, "step": {Step: "step"}, "": {}} {
		if e.Error() != want {
			t.Errorf("%+v says %q", *e, e.Error())
		}
	}
	other := errors.New("other")
	if ExitStatus(other) != ExitHutch || Hint(other) != "" || ExitStatus(&Error{}) != ExitHutch {
		t.Error("an error of another kind")
	}
}

func TestLimitNames(t *testing.T) {
	n := int64(0)
	all := Limits{1, &n, 1, 1, "0", 1, []IOLimit{{}}, 1, 1, &n, time.Second, time.Second, time.Second, 1}
	names := strings.Join(all.Names(), " ")
	if names != "memory swap cpus cpu-weight cpuset pids io open-files file-size core-size timeout cpu-time output-limit" {
		t.Errorf("%s", names)
	}
	if none := (Limits{Grace: time.Second}).Names(); none == nil || len(none) != 0 {
		t.Errorf("%#v", none)
	}
}

func TestStalledWords(t *testing.T) {
	long, short := 8.04, 0.5
	for _, tt := range []struct {
		stalled Stalled
		want    string
	}{
		{Stalled{}, ""},
		{Stalled{CPU: &short}, ""},
		{Stalled{CPU: &long, Memory: &short, IO: nil}, "; of that it waited 8.0 s for a processor"},
		{Stalled{Memory: &long, IO: &long}, "; of that it waited 8.0 s for memory, 8.0 s for a disk"},
	} {
		if got := tt.stalled.words(10); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.stalled, got, tt.want)
		}
	}
}
