package test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"mailcertd/internal/pki"
	"mailcertd/test/bed"
)

// flaky passes the CA's questions on to mailcertd. The CA asks three times about each order, and all answers must be
// right. In each of the first two orders one answer is wrong. mu guards asked and tokens.
type flaky struct {
	to     *httputil.ReverseProxy
	mu     sync.Mutex
	asked  map[string]int // the questions about each token
	tokens []string       // in the order in which they came
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.asked[r.URL.Path] == 0 {
		f.tokens = append(f.tokens, r.URL.Path)
	}
	f.asked[r.URL.Path]++
	order, question := len(f.tokens), f.asked[r.URL.Path]
	f.mu.Unlock()
	switch {
	case order == 1 && question == 1:
		http.Error(w, "try later", http.StatusBadGateway)
	case order == 2 && question == 3:
		panic(http.ErrAbortHandler)
	default:
		f.to.ServeHTTP(w, r)
	}
}

// A CA rejects every second nonce, waits a random time before it validates, and fails the validation twice. The daemon
// says so each time and waits. Then the first certificate arrives, with one order for each validation and one account.
func TestPublicFlaky(t *testing.T) {
	t.Parallel()
	p := bed.NewPebble(t, bed.PebbleOptions{Env: []string{"PEBBLE_WFE_NONCEREJECT=50", "PEBBLE_VA_NOSLEEP=0",
		"PEBBLE_VA_SLEEPTIME=2"}})
	mine := bed.Local(bed.Port(t))
	f := &flaky{to: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: mine}), asked: map[string]int{}}
	l, err := net.Listen("tcp", bed.Local(p.HTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	front := &http.Server{Handler: f}
	go front.Serve(l) //nolint:errcheck
	t.Cleanup(func() { _ = front.Close() })

	root := site(t)
	write(t, filepath.Join(root, "etc/ca.pem"), string(p.CA), 0o644)
	conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	is, _ := os.ReadFile(conf)
	write(t, conf, string(is)+"issuer:\n  acme: {directory: '"+p.Directory+
		"', agree_tos: true, ca_file: /etc/ca.pem, http: {listen: '"+mine+"'}}\n"+
		"dns: {resolver: '"+p.Resolver+"'}\n", 0o644)
	d := startDaemon(t, root)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mailcertd:\n%s", d.log())
		}
	})
	for n := 1; n <= 2; n++ {
		bed.Wait(t, fmt.Sprintf("failure %d to be reported", n), func() error {
			out, _ := run(t, bed.Binary(t, ""), root, nil, "check")
			out = strings.Join(strings.Fields(out), " ")
			if !strings.Contains(out, "[acme-challenge]") || !strings.Contains(out, fmt.Sprintf("(%d attempt", n)) ||
				!strings.Contains(out, "asks again") || !strings.Contains(out, "http-01 of") {
				return errors.New(out)
			}
			return nil
		})
		if p.Orders() != n {
			t.Fatalf("%d orders after %d failures", p.Orders(), n)
		}
		inStateFile(t, filepath.Join(root, "var/db/mailcertd/state.json"), "next", "2020-01-01T00:00:00Z")
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	bed.Wait(t, "a certificate", func() error {
		data, err := os.ReadFile(d.certs("host.cert"))
		if certs := pki.ReadCertFile(data).Certs; err == nil && (len(certs) != 2 ||
			!strings.HasPrefix(certs[0].Issuer.CommonName, "Pebble Intermediate")) {
			err = fmt.Errorf("host.cert has %d certificates", len(certs))
		}
		return err
	})
	if p.Orders() != 3 || p.Accounts() != 1 {
		t.Errorf("%d orders, %d accounts", p.Orders(), p.Accounts())
	}
}
