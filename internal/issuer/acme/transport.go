package acme

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// The limits of an answer of the directory.
const (
	maxAnswer     = 1 << 20 // bytes
	maxHeader     = 64 << 10
	maxAlternates = 4
	answerIn      = 30 * time.Second
	// maxRetryAfter is the longest Retry-After that is obeyed.
	maxRetryAfter = 31 * 24 * time.Hour
)

// answer is the last answer of the CA. It is kept because acmez returns neither the header of an answer nor an answer
// that it cannot parse.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// badAnswer is an answer that cannot be used. All later requests of the question fail.
type badAnswer struct{ why string }

func (e badAnswer) Error() string { return e.why }

// lostOrder says that an order was asked for and that it is not known whether the CA placed it. Without this error
// acmez would ask again at once, and a CA that had placed the order would then have two.
type lostOrder struct {
	err     error
	problem *acme.Problem // what the CA said about it; nil means nothing
}

func (e *lostOrder) Error() string {
	return "mailcertd could not find out whether the order was placed: " + e.err.Error()
}
func (e *lostOrder) Unwrap() error { return e.err }

// busy says that the CA could not handle the request, and therefore has placed no order: status 503 (RFC 9110 section
// 15.6.4) with a problem document of ACME. Without one, a proxy may have sent it after the CA had the request.
func (e *lostOrder) busy() bool {
	return e.problem != nil && e.problem.Status == http.StatusServiceUnavailable &&
		strings.HasPrefix(e.problem.Type, acme.ProblemTypeNamespace)
}

// wire carries every request to the directory and back, and reads each answer completely, up to a limit. Only one
// goroutine uses it, so it has no lock.
type wire struct {
	base     http.RoundTripper
	now      func() time.Time
	known    []byte // the answer to a GET of the directory, once it is known
	url      string // the URL of the directory
	newOrder string
	// alternates lets the links to other chains of a certificate through. It is off at other times, because acmez
	// downloads each of these chains.
	alternates bool
	lost       *lostOrder
	broken     error
	last       answer
}

// transport returns the HTTP transport of one question. It does not speak HTTP/2, which nothing here needs.
func (i *Issuer) transport() *http.Transport {
	return &http.Transport{
		Proxy:                  i.o.Proxy,
		DialContext:            (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  i.answerIn,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    1,
		MaxConnsPerHost:        2,
		IdleConnTimeout:        time.Minute,
		TLSClientConfig:        &tls.Config{RootCAs: i.roots, MinVersion: tls.VersionTLS12, Time: i.o.Now},
	}
}

// RoundTrip carries one request. After a badAnswer all later requests fail too.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	asked := req.URL.String()
	switch {
	case w.broken != nil:
		return nil, w.broken
	case req.URL.Scheme != "https":
		w.broken = badAnswer{fmt.Sprintf("the CA names the URL %.200q, must be an https URL", asked)}
		return nil, w.broken
	case w.known != nil && req.Method == http.MethodGet && strings.TrimSuffix(asked, "#"+req.URL.Fragment) == w.url:
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewReader(w.known)), ContentLength: int64(len(w.known)), Request: req,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}, nil
	}
	order := req.Method == http.MethodPost && asked == w.newOrder
	if order && w.lost != nil {
		return nil, w.lost
	}
	resp, err := w.carry(req)
	if order {
		w.lost = lostBy(resp, w.last, err)
		if w.lost != nil && err != nil {
			err = w.lost
		}
	}
	return resp, err
}

// carry carries a request and reads the answer.
func (w *wire) carry(req *http.Request) (*http.Response, error) {
	w.last = answer{}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer of %s: %w", req.URL.Host, err)
	case len(body) > maxAnswer:
		w.broken = badAnswer{fmt.Sprintf("%s answers with more than %d bytes", req.URL.Host, maxAnswer)}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		w.broken = badAnswer{fmt.Sprintf("%s redirects to %.200q; redirects are not followed", req.URL.Host,
			resp.Header.Get("Location"))}
	}
	if w.broken != nil {
		return nil, w.broken
	}
	w.last = answer{status: resp.StatusCode, header: resp.Header.Clone(), body: body}
	w.prune(resp.Header)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// prune removes links that acmez would follow without a limit. A chain in PEM is complete and needs no `up`.
func (w *wire) prune(h http.Header) {
	var kept []string
	for _, l := range links(h, "alternate") {
		if w.alternates && len(kept) < maxAlternates {
			kept = append(kept, fmt.Sprintf(`<%s>;rel="alternate"`, l))
		}
	}
	h.Del("Link")
	if kept != nil {
		h["Link"] = kept
	}
}

// lostBy says whether it is unknown after an answer to newOrder what the CA did. It is known if no connection was made,
// if the CA refused (4xx), and if the CA agreed, because then the order is continued from its URL.
func lostBy(resp *http.Response, a answer, err error) *lostOrder {
	var dial *net.OpError
	var bad badAnswer
	switch {
	case err != nil && errors.As(err, &dial) && dial.Op == "dial", errors.As(err, &bad):
		return nil
	case err != nil:
		return &lostOrder{err: err}
	case resp.StatusCode < 500:
		return nil
	}
	lost := &lostOrder{err: fmt.Errorf("HTTP status %d", a.status)}
	var p acme.Problem
	if json.Unmarshal(a.body, &p) == nil && p.Type != "" {
		p.Status = a.status
		lost.problem, lost.err = &p, p
	}
	return lost
}

// retryAfter returns when the last answer wants to be asked again, and whether it says so (RFC 9110 section 10.2.3).
func (w *wire) retryAfter() (time.Time, bool) {
	value, now := w.last.header.Get("Retry-After"), w.now()
	at, err := http.ParseTime(value)
	if n, bad := strconv.ParseUint(value, 10, 32); bad == nil {
		at, err = now.Add(time.Duration(n)*time.Second), nil
	}
	if err != nil {
		return time.Time{}, false
	}
	if at.Before(now) {
		at = now
	}
	if latest := now.Add(maxRetryAfter); at.After(latest) {
		at = latest
	}
	return at, true
}

// It is compiled at the first use, because every command would wait for it at its start.
var linkPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`<([^<>]+)>\s*;[^,]*\brel="?([a-z-]+)"?`)
})

// links returns the targets of a header's links with one relation (RFC 8288).
func links(h http.Header, rel string) []string {
	var out []string
	for _, line := range h["Link"] {
		for _, m := range linkPattern().FindAllStringSubmatch(line, -1) {
			if m[2] == rel {
				out = append(out, m[1])
			}
		}
	}
	return out
}
