package registry

import (
	"slices"
	"testing"
)

func TestEnvironment(t *testing.T) {
	got := environment([]string{"HOME=/h", "GODEBUG=tls10server=1", "GOTRACEBACK=crash", "https_proxy=http://p", "GOMAXPROCS=1", "GOPATH=/go", "odd"})
	if want := []string{"HOME=/h", "https_proxy=http://p", "GOPATH=/go", "odd"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := environment(nil); got == nil {
		t.Error("package os takes nil for all of the caller's")
	}
}
