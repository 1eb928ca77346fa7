package rootfs

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestSumOfHole: the sum of a file with a hole costs what its data costs; where
// the data is counts, and whether zeros were written does not.
func TestSumOfHole(t *testing.T) {
	t.Parallel()
	sumOf := func(size int64, data map[int64]string) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.Mkdir(dir+"/fs", 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(dir + "/fs/f")
		if err != nil {
			t.Fatal(err)
		}
		for at, text := range data {
			if _, err := f.WriteAt([]byte(text), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := os.Chtimes(dir+"/fs/f", someTime, someTime); err != nil {
			t.Fatal(err)
		}
		sum := ""
		err = eachSum(context.Background(), dir+"/fs", func(path, text string) error {
			if path == "f" {
				sum = text
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	const tera = 1 << 40
	began := time.Now()
	first := sumOf(tera, map[int64]string{5: "data", tera - 5: "end"})
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
	zeros := string(make([]byte, 1<<20))
	if got := sumOf(tera, map[int64]string{1 << 30: zeros, 5: "data", tera - 5: "end"}); got != first {
		t.Errorf("written zeros: %s, not %s", got, first)
	}
	for name, data := range map[string]map[int64]string{
		"elsewhere": {5 + 1<<30: "data", tera - 5: "end"}, "other": {5: "datA", tera - 5: "end"}, "less": {5: "data"},
	} {
		if sumOf(tera, data) == first {
			t.Errorf("%s: the same sum", name)
		}
	}
}
