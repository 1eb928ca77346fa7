package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"hutch/rootfs/registry"
)

// A guard decides where connections may go. A registry may send its client on
// to any address, and so make it ask services that only this machine reaches,
// such as a cloud's metadata (CVE-2020-15157 leaked credentials that way).
type guard struct {
	home      string // host:port of the registry
	literal   bool   // the user wrote an address and no name
	local     bool   // the registry is on this machine
	plainHTTP bool
	proxies   []string // host:port of the user's own proxies
}

func newGuard(o registry.Open) *guard {
	host, _ := splitHost(o.Host)
	_, err := netip.ParseAddr(host)
	g := &guard{home: o.Host, literal: err == nil, local: isLocal(host), plainHTTP: o.PlainHTTP}
	for _, scheme := range [...]string{"http", "https"} {
		u, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: scheme, Host: o.Host}})
		if err == nil && u != nil {
			g.proxies = append(g.proxies, u.Host)
		}
	}
	return g
}

func splitHost(hostport string) (host, port string) {
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		return h, p
	}
	return strings.Trim(hostport, "[]"), ""
}

// isLocal tells a name or address of this machine.
func isLocal(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// A refusal is a connection that must not be made.
type refusal struct{ text, hint string }

func (r *refusal) Error() string { return r.text }

// checkURL looks at the scheme, and at an address that is written out: through
// a proxy no other check would see that.
func (g *guard) checkURL(u *url.URL) error {
	host, _ := splitHost(u.Host)
	if a, err := netip.ParseAddr(host); err == nil {
		if err := g.checkAddr(a, u.Host == g.home); err != nil {
			return err
		}
	}
	switch u.Scheme {
	case "https":
	case "http":
		if !g.plainHTTP && !isLocal(host) {
			return &refusal{
				fmt.Sprintf("%s is asked for by http, which anybody on the way can read and change", u.Host),
				"use a registry with https, or say --plain-http",
			}
		}
	default:
		return &refusal{fmt.Sprintf("the registry sends on to %q, which is no web address", u.Redacted()), "ask who runs it"}
	}
	return nil
}

// checkAddr judges an address; home says that it is the registry's own.
func (g *guard) checkAddr(a netip.Addr, home bool) error {
	a = a.Unmap().WithZone("")
	refuse := func(what string) error {
		return &refusal{
			fmt.Sprintf("the registry sends on to %s, %s: refused", a, what),
			"a registry has no business there: ask who runs it",
		}
	}
	switch {
	case a.IsUnspecified(), a.IsMulticast():
		return refuse("which is no machine's address")
	case a.IsLinkLocalUnicast(), a == netip.MustParseAddr("fd00:ec2::254"):
		if !(home && g.literal) {
			return refuse("a link-local address")
		}
	case a.IsLoopback():
		if !home && !g.local {
			return refuse("this machine")
		}
	}
	return nil
}

// dial checks the address that a name led to, just before it is connected to.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}
	d.Control = func(_, address string, _ syscall.RawConn) error {
		for _, p := range g.proxies {
			if addr == p {
				return nil
			}
		}
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return g.checkAddr(ap.Addr(), withoutDefaultPort(addr) == withoutDefaultPort(g.home))
	}
	return d.DialContext(ctx, network, addr)
}

func withoutDefaultPort(hostport string) string {
	host, port := splitHost(hostport)
	if port == "443" || port == "80" || port == "" {
		return host
	}
	return net.JoinHostPort(host, port)
}

// A retrier is the transport below everything: it guards, and it asks again
// when a registry has a bad moment.
type retrier struct {
	inner http.RoundTripper
	guard *guard
	pause time.Duration
}

// attempts is how often one request is made, with the pause doubling between.
const attempts = 4

// longestPause is what a registry's Retry-After may ask for.
const longestPause = time.Minute

func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := r.guard.checkURL(req.URL); err != nil {
		return nil, err
	}
	pause := r.pause
	for n := 1; ; n++ {
		resp, err := r.inner.RoundTrip(req)
		again := err == nil && mayPass(resp.StatusCode) || err != nil && passing(err)
		if !again || n == attempts || (req.Body != nil && req.GetBody == nil) {
			return resp, err
		}
		wait := pause
		if resp != nil {
			wait = max(wait, retryAfter(resp))
			resp.Body.Close()
		}
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		select {
		case <-time.After(min(wait, longestPause)):
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
		pause *= 2
	}
}

// mayPass tells the answers that another attempt may better.
func mayPass(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return true
	}
	return false
}

// passing tells the errors of a connection that broke; one that was never made
// is told at once: the registry is down, or its name wrong.
func passing(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || isEOF(err)
}

// retryAfter reads the header, in seconds or as a date, RFC 9110.
func retryAfter(resp *http.Response) time.Duration {
	v := resp.Header.Get("Retry-After")
	if d, err := time.ParseDuration(v + "s"); err == nil {
		return d
	}
	if t, err := http.ParseTime(v); err == nil {
		return time.Until(t)
	}
	return 0
}
