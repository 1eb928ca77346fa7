package main

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"hutch/rootfs"
)

// tarFiles makes a tar of files, "name" and content in turn; a name that ends
// in a slash is a directory.
func tarFiles(pairs ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		h := &tar.Header{Name: pairs[i], Mode: 0o644, Size: int64(len(pairs[i+1])), Typeflag: tar.TypeReg}
		if strings.HasSuffix(pairs[i], "/") {
			h.Mode, h.Typeflag = 0o755, tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		io.WriteString(w, pairs[i+1])
	}
	w.Close()
	return b.Bytes()
}

func imageOf(config v1.Config, arch string, tars ...[]byte) (v1.Image, error) {
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch, Config: config, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, err
	}
	for _, t := range tars {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(t)), nil })
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// testImage has three layers, of which the upper ones hide parts of the lower.
var testImage = sync.OnceValues(func() (v1.Image, error) {
	dir, err := os.MkdirTemp("", "hutch-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := busyboxRoot(dir); err != nil {
		return nil, err
	}
	base, err := tarTree(dir)
	if err != nil {
		return nil, err
	}
	config := v1.Config{
		Entrypoint: []string{"/bin/echo", "entry"}, Cmd: []string{"point"}, Env: []string{"FROM=image", "PATH=/bin"},
		User: "user", WorkingDir: "/work", StopSignal: "SIGUSR1",
	}
	return imageOf(config, "amd64", base,
		tarFiles("data/", "", "data/hidden", "1", "data/kept", "2", "full/", "", "full/below", "3", strings.Repeat("x", 90), strings.Repeat("big", 1<<18)),
		tarFiles("data/.wh.hidden", "", "full/", "", "full/.wh..wh..opq", "", "full/above", "4"))
})

// uniqueImage has a fourth layer, which no store has yet.
func uniqueImage(what string) (v1.Image, error) {
	img, err := testImage()
	if err != nil {
		return nil, err
	}
	noise := make([]byte, 5000)
	rand.Read(noise)
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(tarFiles("unique", what+string(noise)))), nil
	})
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, l)
}

func tarTree(dir string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link, _ := os.Readlink(path)
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		h.Name, _ = filepath.Rel(dir, path)
		h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
		if err := w.WriteHeader(h); err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}

// A testRegistry is a registry over HTTP on loopback, behind what mode does to
// the answers.
type testRegistry struct {
	server *httptest.Server
	host   string
	image  v1.Image
	asked  atomic.Int64 // requests for blobs
}

// startRegistry serves the test image as team/app:1.
func startRegistry(mode string) (r *testRegistry, err error) {
	r = &testRegistry{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	behave, ok := modes()[mode]
	if !ok {
		return nil, fmt.Errorf("no such mode: %s", mode)
	}
	var open atomic.Bool // while the image is put in
	open.Store(true)
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/blobs/") {
			r.asked.Add(1)
		}
		if open.Load() || behave == nil {
			inner.ServeHTTP(w, req)
			return
		}
		behave(w, req, inner)
	}))
	r.host = strings.TrimPrefix(r.server.URL, "http://")
	if r.image, err = uniqueImage(r.host); err != nil {
		return nil, err
	}
	ref, err := name.ParseReference(r.host + "/team/app:1")
	if err == nil {
		err = remote.Write(ref, r.image)
	}
	open.Store(false)
	r.asked.Store(0)
	return r, err
}

func (r *testRegistry) close() {
	r.server.CloseClientConnections()
	r.server.Close()
}

type behaviour func(w http.ResponseWriter, req *http.Request, inner http.Handler)

// isLayer tells the requests for layers from that for the configuration.
func isLayer(w *httptest.ResponseRecorder, req *http.Request) bool {
	return strings.Contains(req.URL.Path, "/blobs/") && w.Body.Len() > 1000
}

func recorded(req *http.Request, inner http.Handler) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	inner.ServeHTTP(rec, req)
	return rec
}

func replay(w http.ResponseWriter, rec *httptest.ResponseRecorder, body []byte) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(rec.Code)
	w.Write(body)
}

// cut sends half of a body and breaks the connection off.
func cut(w http.ResponseWriter, rec *httptest.ResponseRecorder, body []byte) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(rec.Code)
	w.Write(body[:len(body)/2])
	w.(http.Flusher).Flush()
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// first calls then for the first n requests only.
func first(n int64, then behaviour) behaviour {
	var count atomic.Int64
	return func(w http.ResponseWriter, req *http.Request, inner http.Handler) {
		if count.Add(1) <= n {
			then(w, req, inner)
			return
		}
		inner.ServeHTTP(w, req)
	}
}

func always(code int) behaviour {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "0")
		http.Error(w, "no", code)
	}
}

func layersOnly(what func(w http.ResponseWriter, req *http.Request, rec *httptest.ResponseRecorder)) behaviour {
	return func(w http.ResponseWriter, req *http.Request, inner http.Handler) {
		rec := recorded(req, inner)
		if isLayer(rec, req) {
			what(w, req, rec)
			return
		}
		replay(w, rec, rec.Body.Bytes())
	}
}

// modes are the ways in which a registry can misbehave. To add one: a line
// here, and one in TestRegistries.
func modes() map[string]behaviour {
	return map[string]behaviour{
		"":          nil,
		"password":  basicAuth,
		"busy":      first(2, always(http.StatusTooManyRequests)),
		"broken":    first(2, always(http.StatusInternalServerError)),
		"down":      always(http.StatusServiceUnavailable),
		"forbidden": always(http.StatusForbidden),
		"html": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, "<html>log in, please</html>")
		},
		"garbage": func(w http.ResponseWriter, req *http.Request, inner http.Handler) {
			if strings.Contains(req.URL.Path, "/manifests/") {
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				io.WriteString(w, `{"schemaVersion":2,"config":{`)
				return
			}
			inner.ServeHTTP(w, req)
		},
		"lying": layersOnly(func(w http.ResponseWriter, _ *http.Request, rec *httptest.ResponseRecorder) {
			body := rec.Body.Bytes()
			body[len(body)/2] ^= 1
			replay(w, rec, body)
		}),
		"longer": layersOnly(func(w http.ResponseWriter, _ *http.Request, rec *httptest.ResponseRecorder) {
			replay(w, rec, append(rec.Body.Bytes(), make([]byte, 1000)...))
		}),
		"config": func(w http.ResponseWriter, req *http.Request, inner http.Handler) {
			rec := recorded(req, inner)
			body := rec.Body.Bytes()
			if strings.Contains(req.URL.Path, "/blobs/") && !isLayer(rec, req) {
				body = bytes.Replace(body, []byte("linux"), []byte("linuX"), 1)
			}
			replay(w, rec, body)
		},
		"half": resuming(),
		"waiting": layersOnly(func(w http.ResponseWriter, req *http.Request, rec *httptest.ResponseRecorder) {
			w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
			w.Write(rec.Body.Bytes()[:100])
			w.(http.Flusher).Flush()
			<-req.Context().Done()
		}),
		"metadata": layersOnly(func(w http.ResponseWriter, req *http.Request, _ *httptest.ResponseRecorder) {
			http.Redirect(w, req, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
		}),
		"downgrade": layersOnly(func(w http.ResponseWriter, req *http.Request, _ *httptest.ResponseRecorder) {
			http.Redirect(w, req, "http://example.com/blob", http.StatusFound)
		}),
		"file": layersOnly(func(w http.ResponseWriter, req *http.Request, _ *httptest.ResponseRecorder) {
			http.Redirect(w, req, "file:///etc/passwd", http.StatusFound)
		}),
	}
}

// resuming breaks each layer off in the middle, once, and knows ranges.
func resuming() behaviour {
	var seen sync.Map
	what := func(w http.ResponseWriter, req *http.Request, rec *httptest.ResponseRecorder) {
		body := rec.Body.Bytes()
		if _, again := seen.LoadOrStore(req.URL.Path, true); !again {
			cut(w, rec, body)
			return
		}
		var from int
		if _, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &from); err != nil || from <= 0 || from >= len(body) {
			http.Error(w, "expected the rest to be asked for", http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		w.Header().Set("Content-Length", strconv.Itoa(len(body)-from))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(body[from:])
	}
	return func(w http.ResponseWriter, req *http.Request, inner http.Handler) {
		whole := req.Clone(req.Context())
		whole.Header.Del("Range")
		rec := recorded(whole, inner)
		if isLayer(rec, req) {
			what(w, req, rec)
			return
		}
		replay(w, rec, rec.Body.Bytes())
	}
}

func basicAuth(w http.ResponseWriter, req *http.Request, inner http.Handler) {
	if user, password, ok := req.BasicAuth(); !ok || user != "someone" || password != "secret" {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	inner.ServeHTTP(w, req)
}

// writeLayout writes the test image as an OCI layout, with the tag 1.
func writeLayout(dir string) error {
	img, err := testImage()
	if err != nil {
		return err
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "1"}))
}

// pulled is what hutch says to an image of a registry in this mode.
func pulled(t *testing.T, mode string, env ...string) (status int, output string, r *testRegistry) {
	t.Helper()
	r, err := startRegistry(mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	status, output = hutch(t, env, "image", "pull", "-q", r.host+"/team/app:1")
	return status, output, r
}

func makeLayout(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(writeLayout(ts.MkAbs(args[0])))
}

// flipImage changes a byte of the topmost layer of an image, an EROFS image of root's.
func flipImage(ts *testscript.TestScript, _ bool, args []string) {
	img, err := rootfs.InspectImage("/var/lib/hutch", args[0])
	ts.Check(err)
	path := "/var/lib/hutch/layers/" + img.Layers[len(img.Layers)-1].Entry + rootfs.LayerImage
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], 4096)
	ts.Check(err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], 4096)
	ts.Check(err)
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	store := ts.Getenv("XDG_DATA_HOME") + "/hutch"
	if os.Geteuid() == 0 {
		store = "/var/lib/hutch"
	}
	files, err := filepath.Glob(store + "/layers/diff-*/fs/" + args[0])
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no such file in %s", store)
	}
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	info, err := f.Stat()
	ts.Check(err)
	var b [1]byte
	_, err = f.ReadAt(b[:], 0)
	ts.Check(err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], 0)
	ts.Check(err)
	// As a failing disk does it: the times stay.
	ts.Check(os.Chtimes(files[0], info.ModTime(), info.ModTime()))
}
