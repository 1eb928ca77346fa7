package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// hutch runs the program and gives its status, and all that it wrote.
func hutch(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command("hutch", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_DATA_HOME="+storeHome(t))
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// testData is one data directory for all tests of an ordinary user; root's
// store is covered already. It is removed when all tests are over.
var testData = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "hutch-images-") })

func storeHome(t *testing.T) string {
	t.Helper()
	dir, err := testData()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRegistries: what registries do, and what hutch says to it.
func TestRegistries(t *testing.T) {
	for _, tt := range []struct {
		mode string
		want string // of the output
		ok   bool
	}{
		{"busy", `^sha256:[0-9a-f]{64}\n$`, true},
		{"broken", `^sha256:[0-9a-f]{64}\n$`, true},
		{"half", `^sha256:[0-9a-f]{64}\n$`, true},
		{"down", `answers 503 Service Unavailable\nhint: the trouble is on its side: try`, false},
		{"forbidden", `refuses access to team/app \(403 Forbidden\)\nhint: log in with docker login`, false},
		{"password", `refuses access to team/app \(401 Unauthorized\)\nhint: log in`, false},
		{"html", `answers with a web page: it is no registry`, false},
		{"garbage", `the manifest is no JSON`, false},
		{"lying", `layer \d of 4: .*(digest|damaged|invalid|checksum)`, false},
		{"longer", `layer \d of 4: .*size`, false},
		{"config", `configuration: .* has another digest`, false},
		{"metadata", `sends on to 169\.254\.169\.254, a link-local address: refused`, false},
		{"downgrade", `example\.com is asked for by http, which anybody on the way can read`, false},
		{"file", `sends on to "file:///etc/passwd", which is no web address|unsupported protocol scheme`, false},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			status, out, r := pulled(t, tt.mode)
			if (status == 0) != tt.ok || !tt.ok && status != 125 {
				t.Errorf("status %d: %s", status, out)
			}
			if ok, err := regexp.MatchString(tt.want, out); !ok {
				t.Errorf("%v: output is\n%swant %s", err, out, tt.want)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %v", took)
			}
			_, list := hutch(t, nil, "image", "ls")
			if strings.Contains(list, r.host) != tt.ok {
				t.Errorf("image ls shows\n%s", list)
			}
		})
	}
}

// TestCredentials: from the file, and from a helper that it names.
func TestCredentials(t *testing.T) {
	t.Parallel()
	r, err := startRegistry("password")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	dir := t.TempDir()
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(dir+"/file/.docker/config.json", `{"auths":{"`+r.host+`":{"auth":"c29tZW9uZTpzZWNyZXQ="}}}`, 0o600)
	write(dir+"/wrong/.docker/config.json", `{"auths":{"`+r.host+`":{"auth":"c29tZW9uZTp3cm9uZw=="}}}`, 0o600)
	write(dir+"/helper/.docker/config.json", `{"credHelpers":{"`+r.host+`":"hutchtest"}}`, 0o600)
	write(dir+"/none/.docker/config.json", `{"credHelpers":{"`+r.host+`":"missing"}}`, 0o600)
	write(dir+"/bin/docker-credential-hutchtest", "#!/bin/sh\nread host\necho '{\"ServerURL\":\"'$host'\",\"Username\":\"someone\",\"Secret\":\"secret\"}'\n", 0o755)
	for _, tt := range []struct {
		home, want string
	}{
		{"file", `^sha256:`},
		{"helper", `^sha256:`},
		{"wrong", `401 Unauthorized`},
		{"none", `^sha256:|credentials for|401`},
	} {
		_, out := hutch(t, []string{"HOME=" + dir + "/" + tt.home, "PATH=" + dir + "/bin:" + os.Getenv("PATH")}, "image", "pull", "-q", r.host+"/team/app:1")
		if ok, _ := regexp.MatchString(tt.want, out); !ok {
			t.Errorf("%s: %s", tt.home, out)
		}
		if strings.Contains(out, "secret") {
			t.Errorf("%s: the password is shown: %s", tt.home, out)
		}
	}
}

// TestPulledAgain: what is there is not fetched again.
func TestPulledAgain(t *testing.T) {
	t.Parallel()
	_, out, r := pulled(t, "")
	r.asked.Store(0)
	if status, again := hutch(t, nil, "image", "pull", "-q", r.host+"/team/app:1"); status != 0 || again != out {
		t.Errorf("%d: %s, and before %s", status, again, out)
	}
	if n := r.asked.Load(); n != 1 { // the configuration
		t.Errorf("%d blobs were fetched", n)
	}
	id := strings.TrimSpace(out)
	if status, text := hutch(t, nil, "run", r.host+"/team/app:1", "x"); status != 0 || text != "entry x\n" {
		t.Errorf("%d: %s", status, text)
	}
	img := r.image
	if d, _ := img.ConfigName(); d.String() != id {
		t.Errorf("the ID is %s, and the configuration's digest %s", id, d)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	byDigest := r.host + "/team/app@" + digest.String()
	if status, text := hutch(t, nil, "run", byDigest, "y"); status != 0 || text != "entry y\n" {
		t.Errorf("%d: %s", status, text)
	}
	wrong := strings.Replace(byDigest, digest.Hex, strings.Repeat("0", 64), 1)
	if status, text := hutch(t, nil, "run", wrong, "y"); status != 125 || !strings.Contains(text, "has no ") {
		t.Errorf("%d: %s", status, text)
	}
	// The registry is no longer needed.
	r.close()
	if status, text := hutch(t, nil, "run", byDigest, "z"); status != 0 || text != "entry z\n" {
		t.Errorf("%d: %s", status, text)
	}
}

// TestPlatforms: an index is looked through for this machine's architecture.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	r, err := startRegistry("")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	native, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := imageOf(v1.Config{}, "s390x", tarFiles("etc/", "", "etc/arch", "s390x"))
	if err != nil {
		t.Fatal(err)
	}
	add := func(img v1.Image, arch string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
	}
	push := func(tag string, idx v1.ImageIndex) string {
		ref, err := name.ParseReference(r.host + "/team/" + tag)
		if err == nil {
			err = remote.WriteIndex(ref, idx)
		}
		if err != nil {
			t.Fatal(err)
		}
		return ref.String()
	}
	both := push("both:1", mutate.AppendManifests(empty.Index, add(foreign, "s390x"), add(native, "amd64")))
	only := push("only:1", mutate.AppendManifests(empty.Index, add(foreign, "s390x")))
	if status, out := hutch(t, nil, "run", both); status != 0 || out != "entry point\n" {
		t.Errorf("%d: %s", status, out)
	}
	if status, out := hutch(t, nil, "run", only); status != 125 || !strings.Contains(out, "there is no image for linux/amd64, only for: linux/s390x\nhint: name one with --platform") {
		t.Errorf("%d: %s", status, out)
	}
	if status, out := hutch(t, nil, "image", "pull", "-q", "--platform", "linux/s390x", both); status != 0 {
		t.Errorf("%d: %s", status, out)
	}
	if status, out := hutch(t, nil, "run", both); status != 125 || !strings.Contains(out, "the image is for linux/s390x") {
		t.Errorf("%d: %s", status, out)
	}
}

// TestForeignTools: skopeo and umoci read what they wrote and hutch ran, and
// hutch runs what they wrote.
func TestForeignTools(t *testing.T) {
	t.Parallel()
	r, err := startRegistry("")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	dir := t.TempDir()
	tool := func(args ...string) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	skopeo := func(from, to string) {
		t.Helper()
		tool("skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", from, to)
	}
	skopeo("docker://"+r.host+"/team/app:1", "oci:layout:one")
	// umoci adds a layer on top, of its own making.
	tool("umoci", "unpack", "--rootless", "--image", "layout:one", "bundle")
	if err := os.WriteFile(dir+"/bundle/rootfs/data/umoci", []byte("5"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir + "/bundle/rootfs/data/kept"); err != nil {
		t.Fatal(err)
	}
	tool("umoci", "repack", "--image", "layout:two", "bundle")
	skopeo("oci:layout:two", "oci-archive:two.oci.tar:two")
	skopeo("oci:layout:two", "docker-archive:two.docker.tar:team/two:latest")
	skopeo("oci:layout:two", "docker://"+r.host+"/team/two:1")
	tool("gzip", "-k", "two.docker.tar")
	for _, ref := range []string{
		"oci:" + dir + "/layout:two", "oci-archive:" + dir + "/two.oci.tar:two", "oci-archive:" + dir + "/two.oci.tar",
		"docker-archive:" + dir + "/two.docker.tar", "docker-archive:" + dir + "/two.docker.tar:team/two:latest",
		"docker-archive:" + dir + "/two.docker.tar.gz", dir + "/two.oci.tar", dir + "/two.docker.tar", dir + "/two.docker.tar.gz",
		r.host + "/team/two:1",
	} {
		for range 2 { // the second time it is in the store
			status, out := hutch(t, nil, "run", "-q", "--entrypoint", "/bin/sh", ref, "-c", "cd /; echo data/* full/*; cat data/umoci")
			if status != 0 || out != "data/umoci full/above\n5" {
				t.Errorf("%s: %d: %s", ref, status, out)
			}
		}
	}
	if status, out := hutch(t, nil, "run", "oci:"+dir+"/layout"); status != 125 || !strings.Contains(out, "holds 2 images\nhint: add a tag, one of: one two") {
		t.Errorf("%d: %s", status, out)
	}
	if status, out := hutch(t, nil, "run", "docker-archive:"+dir+"/two.docker.tar:other"); status != 125 || !strings.Contains(out, "has no image") {
		t.Errorf("%d: %s", status, out)
	}
}

// TestFetcherIsConfined looks at hutch-pull while a registry keeps it waiting.
func TestFetcherIsConfined(t *testing.T) {
	t.Parallel()
	r, err := startRegistry("waiting")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	cmd := exec.Command("hutch", "image", "pull", "-q", r.host+"/team/app:1")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_DATA_HOME="+storeHome(t), "SECRET_OF_MINE=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pull string
	for end := time.Now().Add(60 * time.Second); pull == "" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if r.asked.Load() > 0 {
			pull = childNamed(cmd.Process.Pid, "hutch-pull")
		}
	}
	if pull == "" {
		t.Fatalf("no hutch-pull: %s", out.String())
	}
	text, err := os.ReadFile("/proc/" + pull + "/status")
	if err != nil {
		t.Fatal(err)
	}
	tasks, _ := filepath.Glob("/proc/" + pull + "/task/*/status")
	for _, task := range tasks { // every thread
		text, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q:\n%s", task, want, text)
			}
		}
	}
	if os.Geteuid() == 0 && !strings.Contains(string(text), "Uid:\t65534\t65534\t65534\t65534") {
		t.Errorf("it is still somebody:\n%s", text)
	}
	// hutch that dies takes it along.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		state, err := os.ReadFile("/proc/" + pull + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("hutch-pull outlives hutch")
		}
	}
	r.close()
	// And what it left behind is removed by the next.
	if status, text := hutch(t, nil, "image", "gc"); status != 0 {
		t.Errorf("%d: %s", status, text)
	}
}

// TestInterruptedPull: Ctrl-C while a registry keeps it waiting.
func TestInterruptedPull(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"image", "pull", "-q"}, {"run", "-q"}} {
		// Its own, since one may yet count what the first has asked for.
		r, err := startRegistry("waiting")
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		cmd := exec.Command("hutch", append(args, r.host+"/team/app:1")...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_DATA_HOME="+storeHome(t))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(60 * time.Second); r.asked.Load() < 2 && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		cmd.Wait()
		if took := time.Since(began); cmd.ProcessState.ExitCode() != 130 || took > 30*time.Second {
			t.Errorf("%v: %v after %v: %s", args, cmd.ProcessState, took, out.String())
		}
		if _, list := hutch(t, nil, "image", "ls"); strings.Contains(list, r.host) {
			t.Errorf("%v: there is half an image: %s", args, list)
		}
	}
}

func childNamed(parent int, comm string) string {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		head, tail, _ := cutLast(string(data), ") ")
		fields := strings.Fields(tail)
		if strings.HasSuffix(head, "("+comm) && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			return filepath.Base(filepath.Dir(f))
		}
	}
	return ""
}

// TestImageJSON: what ls and inspect print can be read by a program.
func TestImageJSON(t *testing.T) {
	t.Parallel()
	_, out, r := pulled(t, "")
	_, text := hutch(t, nil, "image", "inspect", r.host+"/team/app:1")
	var img struct {
		ID     string
		Names  []string
		Layers []struct{ Bytes int64 }
		Config struct{ Config struct{ Cmd []string } }
	}
	if err := json.Unmarshal([]byte(text), &img); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if img.ID+"\n" != out || len(img.Layers) != 4 || len(img.Config.Config.Cmd) != 1 {
		t.Errorf("%+v", img)
	}
	_, text = hutch(t, nil, "image", "ls", "--json")
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) == 0 {
		t.Errorf("%v: %s", err, text)
	}
}
