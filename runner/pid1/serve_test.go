package pid1

import (
	"encoding/json"
	"strings"
	"testing"

	"hutch/runner/guest"
)

// The sample is of the fields that a config has; what it says of none would
// teach nothing.
func TestSample(t *testing.T) {
	t.Parallel()
	d := json.NewDecoder(strings.NewReader(sample))
	d.DisallowUnknownFields()
	var c guest.Config
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if c.Spec == nil || len(c.Spec.Mounts) == 0 || len(c.Disks) == 0 || len(c.Shares) == 0 {
		t.Errorf("%+v", c)
	}
}
