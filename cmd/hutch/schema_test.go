package main

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema is what hutch itself says that a result looks like.
var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	text, err := exec.Command("hutch", "run", "--result-schema").Output()
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("result.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("result.json")
})

// fitsSchema holds what was written against it.
func fitsSchema(t *testing.T, text []byte) {
	t.Helper()
	s, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if err := s.Validate(doc); err != nil {
		t.Errorf("%s does not fit the schema: %v", text, err)
	}
}

// The schema bites: each of these is no result.
func TestSchemaRefuses(t *testing.T) {
	s, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("hutch", "run", "--result", "-", smallRoot(t), "true").Output()
	if err != nil {
		t.Fatal(err)
	}
	good := string(out)
	for _, r := range [][2]string{
		{`"version":1`, `"version":2`},
		{`"cause":"exited"`, `"cause":"finished"`},
		{`"cause":"exited"`, `"cause":"signaled"`},
		{`"cause":"exited"`, `"cause":"timeout"`},
		{`"exit_code":0`, `"exit_code":256`},
		{`"exit_code":0`, `"exit_code":null`},
		{`"signal":""`, `"signal":"kill"`},
		{`"memory_peak_bytes":null`, `"memory_peak_bytes":-1`},
		{`"memory_peak_bytes":null`, `"memory_peak":null`},
		{`"limits":[]`, `"limits":null`},
		{`"limits":[]`, `"limits":["processes"]`},
		{`"engine"`, `"motor"`},
	} {
		bad := strings.Replace(good, r[0], r[1], 1)
		if bad == good {
			t.Errorf("%s is not in %s", r[0], good)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		if s.Validate(doc) == nil {
			t.Errorf("%s passed", r[1])
		}
	}
}
