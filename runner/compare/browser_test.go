package compare

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// browse opens a page in a real browser, and returns its document, its
// picture, and what it complained about.
func browse(t *testing.T, r *Report, width int, options ...string) (dom string, shot image.Image, complaints []string) {
	t.Helper()
	dir := t.TempDir()
	page, picture := filepath.Join(dir, "report.html"), filepath.Join(dir, "shot.png")
	f, err := os.Create(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WriteHTML(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	open := func(what ...string) (string, string) {
		args := append([]string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr", "--hide-scrollbars",
			"--user-data-dir=" + filepath.Join(dir, "profile"), fmt.Sprintf("--window-size=%d,1200", width),
		}, options...)
		cmd := exec.CommandContext(t.Context(), "chromium", append(append(args, what...), "file://"+page)...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("chromium: %v: %s", err, &stderr)
		}
		return string(out), stderr.String()
	}
	said := ""
	if len(options) == 0 {
		dom, said = open("--dump-dom")
	}
	_, more := open("--screenshot=" + picture)
	said += more
	for line := range strings.Lines(said) {
		if strings.Contains(line, "CONSOLE") || strings.Contains(line, "net::ERR") {
			complaints = append(complaints, line)
		}
	}
	data, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	if shot, err = png.Decode(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return dom, shot, complaints
}

// longest is the longest row of pixels of one colour.
func longest(m image.Image, c color.RGBA) int {
	best := 0
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		run := 0
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := m.At(x, y).RGBA()
			if uint8(r>>8) == c.R && uint8(g>>8) == c.G && uint8(bl>>8) == c.B {
				run++
				best = max(best, run)
			} else {
				run = 0
			}
		}
	}
	return best
}

// The charts are there, in the browser's own picture, and as long as the
// numbers say; in the light, in the dark, and on a phone.
func TestPageInABrowser(t *testing.T) {
	r := sample()
	r.Growth = nil
	r.Rows = r.Rows[1:2] // getppid: 200 against 2000 ns
	first, second := color.RGBA{0x09, 0x69, 0xda, 255}, color.RGBA{0x7d, 0x85, 0x90, 255}
	dark := color.RGBA{0x44, 0x93, 0xf8, 255}
	for _, c := range []struct {
		name    string
		width   int
		first   color.RGBA
		options []string
	}{
		{"light", 1000, first, nil},
		{"phone", 400, first, nil},
		{"dark", 1000, dark, []string{"--force-dark-mode", "--blink-settings=preferredColorScheme=0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dom, shot, complaints := browse(t, r, c.width, c.options...)
			if len(complaints) > 0 {
				t.Errorf("the browser complains: %s", complaints)
			}
			for _, want := range []string{`data-workload="getppid"`, `data-side="tcg" data-median="2090"`, `data-side="native" data-median="209"`} {
				if len(c.options) == 0 && !strings.Contains(dom, want) {
					t.Errorf("the document lacks %s", want)
				}
			}
			if c.name == "dark" {
				if longest(shot, dark) == 0 {
					t.Error("the page is not dark in the dark")
				}
				return
			}
			a, b := longest(shot, c.first), longest(shot, second)
			if a == 0 || float64(b)/float64(a) < 7 || float64(b)/float64(a) > 13 {
				t.Errorf("the bars are %d and %d pixels long, for values ten times apart", a, b)
			}
		})
	}
}
