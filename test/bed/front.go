package bed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"testing"
)

// Front is a proxy before a Pebble, which can change or drop answers. It listens where Pebble runs. mu guards before
// and after.
type Front struct {
	Server    *httptest.Server
	Directory string // URL of the directory through the front
	CA        []byte // PEM certificates that verify its https
	CAFile    string // a file with CA on the host of the Pebble; "" where Pebble runs on this machine

	mu     sync.Mutex
	before func(w http.ResponseWriter, r *http.Request) bool
	after  func(r *http.Request, status int) bool
}

// NewFront starts a front before a Pebble, which ends with the test.
func NewFront(t testing.TB, p *Pebble) *Front {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CA)
	to := &url.URL{Scheme: "https", Host: p.addr}
	quiet := log.New(io.Discard, "", 0)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // so that Pebble's URLs name the front
		},
		Transport: p.transport(&tls.Config{RootCAs: pool}),
		ErrorLog:  quiet,
	}
	f := &Front{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		before, after := f.before, f.after
		f.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		answer := httptest.NewRecorder()
		p.alone(r, func(r *http.Request) { proxy.ServeHTTP(answer, r) })
		if after != nil && !after(r, answer.Code) {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	f.Server.Config.ErrorLog = quiet
	if h := p.o.Host; h != nil {
		l, err := h.Listen("tcp", "127.0.0.1:14001")
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Server.Listener.Close()
		f.Server.Listener = l
	}
	f.Server.StartTLS()
	t.Cleanup(f.Server.Close)
	f.Directory = f.Server.URL + "/dir"
	f.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Server.Certificate().Raw})
	if h := p.o.Host; h != nil {
		f.CAFile = "/etc/mail/front.pem"
		if err := os.WriteFile(h.Path(f.CAFile), f.CA, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// alone calls send with a POST request while no other one is under way. The request does not end before its answer,
// although the client may have been killed. Pebble 2.10 stops for ever when it answers three at a time, of which one
// reads an authorization, one reads an order or looks for an authorization, and one adds something: each holds a lock
// that another one waits for.
func (p *Pebble) alone(r *http.Request, send func(*http.Request)) {
	if r.Method == http.MethodPost {
		p.posts.Lock()
		defer p.posts.Unlock()
	}
	send(r.WithContext(context.WithoutCancel(r.Context())))
}

// Hook sets the functions that get the requests; nil means none. before gets each request first, and may answer it:
// then it returns true, and Pebble does not get the request. after gets each request that Pebble has answered, and the
// status. When it returns false the answer is dropped.
func (f *Front) Hook(before func(http.ResponseWriter, *http.Request) bool, after func(*http.Request, int) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// transport makes connections where Pebble runs.
func (p *Pebble) transport(c *tls.Config) *http.Transport {
	return &http.Transport{TLSClientConfig: c, DialContext: func(_ context.Context, network, addr string) (net.Conn,
		error) {
		return p.dial(network, addr)
	}}
}

// Client speaks to the front from here.
func (f *Front) Client(p *Pebble) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.CA)
	return &http.Client{Transport: p.transport(&tls.Config{RootCAs: pool})}
}
