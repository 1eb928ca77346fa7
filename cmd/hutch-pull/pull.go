package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"hutch/rootfs/confine"
	"hutch/rootfs/registry"
)

// readable is what resolving names and checking certificates may need.
var readable = [...]string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/etc/ssl", "/etc/pki",
	"/run/systemd/resolve", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
}

// A puller talks to one repository.
type puller struct {
	base   string // scheme://host/v2/repository
	client *http.Client
	open   registry.Open

	noRanges atomic.Bool // it refused to begin in the middle
}

const (
	defaultStall = 30 * time.Second
	defaultPause = 500 * time.Millisecond
)

// open finds the credentials, gives up all rights, and makes itself known to
// the registry.
func open(ctx context.Context, o registry.Open) (*puller, error) {
	o.Stall, o.Pause = cmp.Or(o.Stall, defaultStall), cmp.Or(o.Pause, defaultPause)
	var options []name.Option
	if o.PlainHTTP {
		options = append(options, name.Insecure)
	}
	reg, err := name.NewRegistry(o.Host, append(options, name.StrictValidation)...)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", o.Host, err)
	}
	auth, err := credentials(ctx, reg)
	if err != nil {
		return nil, err
	}
	// What is read of files is read before the files are given up.
	if _, err := x509.SystemCertPool(); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if err := confine.Self(readable[:]...); err != nil {
		return nil, fmt.Errorf("confinement: %w", err)
	}
	return connect(ctx, o, reg, auth)
}

// credentials reads ~/.docker/config.json and runs the helper that it names.
func credentials(ctx context.Context, reg name.Registry) (authn.Authenticator, error) {
	hint := "look at ~/.docker/config.json, and at the credential helper that it names"
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, err := authn.Resolve(ctx, authn.DefaultKeychain, reg)
	if err != nil {
		return nil, &registry.Error{Text: fmt.Sprintf("credentials for %s: %s", reg, err), Hint: hint}
	}
	c, err := authn.Authorization(ctx, a)
	if err != nil {
		return nil, &registry.Error{Text: fmt.Sprintf("credentials for %s: %s", reg, err), Hint: hint}
	}
	if *c == (authn.AuthConfig{}) {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(*c), nil
}

func connect(ctx context.Context, o registry.Open, reg name.Registry, auth authn.Authenticator) (*puller, error) {
	g := newGuard(o)
	g.home = reg.RegistryStr()
	base := &retrier{guard: g, pause: o.Pause, inner: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: g.dial,
		TLSHandshakeTimeout: o.Stall, ResponseHeaderTimeout: o.Stall,
		MaxIdleConnsPerHost: 8, ForceAttemptHTTP2: true, DisableCompression: true,
		ReadBufferSize: 64 << 10, MaxResponseHeaderBytes: 1 << 20,
	}}
	repo := reg.Repo(o.Repository)
	t, err := transport.NewWithContext(ctx, reg, auth, transport.NewUserAgent(base, "hutch"), []string{repo.Scope(transport.PullScope)})
	p := &puller{open: o, client: &http.Client{Transport: t, CheckRedirect: redirects}}
	if err != nil {
		return nil, p.explain(err, "")
	}
	// The transport goes on with the scheme that answered.
	p.base = fmt.Sprintf("https://%s/v2/%s", reg.RegistryStr(), o.Repository)
	return p, nil
}

func redirects(_ *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return &refusal{"the registry sends on and on, ten times", "ask who runs it"}
	}
	return nil
}

// accepted are the kinds of manifest that hutch reads.
const accepted = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// get makes one request; off is where the body shall begin. cancel ends it.
func (p *puller) get(ctx context.Context, path, accept string, off int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if off > 0 && !p.noRanges.Load() {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(off, 10)+"-")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		defer resp.Body.Close()
		if off > 0 && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && !p.noRanges.Swap(true) {
			return p.get(ctx, path, accept, off)
		}
		return nil, transport.CheckError(resp, http.StatusOK)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		resp.Body.Close()
		return nil, &refusal{"answers with a web page: it is no registry, or a login page is in between", "look at the address with a browser"}
	}
	return resp, nil
}

// manifestMax is what the registries of this world accept.
const manifestMax = 4 << 20

func (p *puller) manifest(ctx context.Context, to io.Writer, reference string) (mediaType string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := p.get(ctx, "/manifests/"+reference, accepted, 0)
	if err != nil {
		return "", p.explain(err, reference)
	}
	defer resp.Body.Close()
	body := &watched{r: resp.Body, limit: p.open.Stall, cancel: cancel}
	if _, err := io.Copy(to, io.LimitReader(body, manifestMax+1)); err != nil {
		return "", p.explain(causeOf(ctx, err), reference)
	}
	mediaType, _, _ = strings.Cut(resp.Header.Get("Content-Type"), ";")
	return mediaType, nil
}

// restarts bounds how often one blob is begun again, or gone on with.
const restarts = 50

// blob sends a blob through the pipe. Where a connection breaks, or goes
// silent, it goes on from there with another.
func (p *puller) blob(ctx context.Context, to *os.File, digest string, size int64) error {
	var off int64
	pause, idle := p.open.Pause, 0
	for n := 0; ; n++ {
		done, err := p.part(ctx, to, digest, size, off)
		var gone *writeError
		switch {
		case errors.As(err, &gone):
			return nil // hutch does not want the rest
		case err == nil && (size <= 0 || off+done >= size):
			return nil
		case err == nil:
			err = fmt.Errorf("sends %d bytes of %d", off+done, size)
		}
		off += done
		idle++
		if done > 0 {
			idle, pause = 0, p.open.Pause
		}
		if idle >= attempts || n >= restarts || !resumable(err) || ctx.Err() != nil {
			return p.explain(err, digest)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, longestPause)
	}
}

// part sends what one connection yields of a blob, from off on.
func (p *puller) part(ctx context.Context, to *os.File, digest string, size, off int64) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := p.get(ctx, "/blobs/"+digest, "", off)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body := io.Reader(&watched{r: resp.Body, limit: p.open.Stall, cancel: cancel})
	if off > 0 && resp.StatusCode == http.StatusOK {
		// It knows no ranges, and begins at the beginning.
		if _, err := io.CopyN(io.Discard, body, off); err != nil {
			return 0, causeOf(ctx, err)
		}
	} else if off > 0 && !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", off)) {
		return 0, &refusal{"answers another part of the layer than was asked for", "ask who runs it"}
	}
	if size > 0 {
		// One byte more tells hutch that it is too long.
		body = io.LimitReader(body, size-off+1)
	}
	n, err := io.CopyBuffer(onlyWriter{to}, body, make([]byte, 256<<10))
	return n, causeOf(ctx, err)
}

// A writeError is the pipe's and not the registry's.
type writeError struct{ error }

type onlyWriter struct{ f *os.File }

func (w onlyWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// A watched body ends its request when no byte comes for too long. hutch may
// take its time to read: only the waiting for the registry counts.
type watched struct {
	r      io.Reader
	limit  time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// errSilent is why a connection was given up.
var errSilent = errors.New("says nothing any more")

func (w *watched) Read(p []byte) (int, error) {
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, func() { w.cancel(errSilent) })
	} else {
		w.timer.Reset(w.limit)
	}
	n, err := w.r.Read(p)
	w.timer.Stop()
	return n, err
}

func causeOf(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, context.Canceled) {
		return cmp.Or(context.Cause(ctx), err)
	}
	return err
}
