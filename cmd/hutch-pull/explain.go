package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"hutch/rootfs/registry"
)

func reply(id int, err error) registry.Reply {
	r := registry.Reply{ID: id}
	if err == nil {
		return r
	}
	r.Error = err.Error()
	var e *registry.Error
	if errors.As(err, &e) {
		r.Error, r.Hint, r.Status = e.Text, e.Hint, e.Status
	}
	r.Error = shorten(r.Error)
	return r
}

// shorten bounds what a registry can make us say.
func shorten(s string) string {
	const most = 500
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Join(strings.Fields(s), " ")
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// resumable tells what another connection may better.
func resumable(err error) bool {
	var refused *refusal
	var status *transport.Error
	return !errors.As(err, &refused) && !errors.As(err, &status)
}

// explain says in words what a registry did, and what to do about it. what is
// the tag or digest that was asked for.
func (p *puller) explain(err error, what string) error {
	e := &registry.Error{Text: fmt.Sprintf("registry %s: %s", p.open.Host, plain(err))}
	var refused *refusal
	var status *transport.Error
	var unknown *net.DNSError
	switch {
	case errors.As(err, &refused):
		e.Text, e.Hint = fmt.Sprintf("registry %s: %s", p.open.Host, refused.text), refused.hint
	case errors.As(err, &status):
		e.Status = status.StatusCode
		p.explainStatus(e, status, what)
	case errors.As(err, &unknown):
		e.Text = fmt.Sprintf("registry %s: its name is not known", p.open.Host)
		e.Hint = "look for a typing error, and whether this machine has a name server"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Text = fmt.Sprintf("registry %s: connection refused", p.open.Host)
		e.Hint = "nothing listens there: look at the port, and whether the registry runs"
	case errors.Is(err, errSilent), isTimeout(err):
		e.Text = fmt.Sprintf("registry %s: does not answer", p.open.Host)
		e.Hint = "try again later, or look at the network in between"
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		e.Text = fmt.Sprintf("registry %s: speaks http, not https", p.open.Host)
		e.Hint = "say --plain-http if you trust the network in between"
	case strings.Contains(err.Error(), "x509:"), strings.Contains(err.Error(), "certificate"):
		e.Hint = "have its certificate's authority installed, or name it with SSL_CERT_FILE"
	case isEOF(err):
		e.Text = fmt.Sprintf("registry %s: breaks the connection off, again and again", p.open.Host)
		e.Hint = "try again later"
	}
	return e
}

func (p *puller) explainStatus(e *registry.Error, status *transport.Error, what string) {
	name := p.open.Host + "/" + p.open.Repository
	if what != "" {
		mark := ":"
		if strings.Contains(what, ":") {
			mark = "@"
		}
		name += mark + what
	}
	says := shorten(fmt.Sprintf("%d %s", status.StatusCode, http.StatusText(status.StatusCode)))
	e.Text = fmt.Sprintf("registry %s: answers %s", p.open.Host, says)
	switch code := status.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		e.Text = fmt.Sprintf("registry %s: refuses access to %s (%s)", p.open.Host, p.open.Repository, says)
		e.Hint = "log in with docker login or skopeo login, for hutch reads ~/.docker/config.json, or look for a typing error"
	case code == http.StatusNotFound:
		e.Text = fmt.Sprintf("registry %s: has no %s", p.open.Host, name)
		e.Hint = "look for a typing error in the name and the tag"
	case code == http.StatusTooManyRequests:
		e.Hint = "it has been asked too often: try again later, or log in for a higher limit"
	case code >= 500:
		e.Hint = "the trouble is on its side: try again later"
	default:
		e.Hint = "ask who runs it, or try again later"
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout() || errors.Is(err, os.ErrDeadlineExceeded)
}

// plain takes the address off an error of net/http, where the message has it.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
