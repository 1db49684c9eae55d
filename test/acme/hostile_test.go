package acme

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/test/bed"
)

func says(w http.ResponseWriter, status int, kind, body string) bool {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Replay-Nonce", "bm9uY2U")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
	return true
}

const problem = "application/problem+json"

// TestHostile: whatever the directory answers, Ask ends with a typed reason, in limited time and memory. The same
// directory gives right answers for all paths but one.
func TestHostile(t *testing.T) {
	p := start(t, settings{})
	dir := func(body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { return says(w, 200, "application/json", body) }
	}
	huge := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		for range 64 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return true
			}
		}
		return true
	}
	redirect := func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "https://192.0.2.1/elsewhere", http.StatusTemporaryRedirect)
		return true
	}
	for _, row := range []struct {
		name, path string
		answer     func(w http.ResponseWriter, r *http.Request) bool
		kind       issuer.Kind
		final      bool
		says       string
	}{
		{"behaves", "/none", nil, "", false, ""},
		{"huge directory", "/dir", huge, issuer.KindAway, false, "more than"},
		{"redirected directory", "/dir", redirect, issuer.KindAway, false, "redirects"},
		{"not JSON", "/dir", dir("<html>"), issuer.KindAway, false, "JSON"},
		{"a list", "/dir", dir("[]"), issuer.KindAway, false, "JSON"},
		{"empty object", "/dir", dir("{}"), issuer.KindAway, false, "must be an https URL"},
		{"names an http URL", "/dir", dir(`{"newNonce":"https://127.0.0.1:1/","newAccount":"https://127.0.0.1:1/",` +
			`"newOrder":"http://127.0.0.1:1/"}`), issuer.KindAway, false, "must be an https URL"},
		{"names a file URL", "/dir", dir(`{"newNonce":"file:///etc/passwd","newAccount":"https://127.0.0.1:1/",` +
			`"newOrder":"https://127.0.0.1:1/"}`), issuer.KindAway, false, "must be an https URL"},
		{"huge header", "/dir", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X", strings.Repeat("x", 900<<10))
			return says(w, 200, "application/json", "{}")
		}, issuer.KindAway, false, "header"},
		{"503 with a time", "/dir", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "120")
			return says(w, 503, problem, `{"type":"urn:ietf:params:acme:error:serverInternal","detail":"maintenance"}`)
		}, issuer.KindAway, false, "maintenance"},
		{"no nonce", "/nonce-plz", func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(200)
			return true
		}, "", false, ""}, // the answer to a bad nonce contains a good one
		{"redirected order", "/order-plz", redirect, issuer.KindAway, false, "redirects"},
		{"huge order", "/order-plz", huge, issuer.KindAway, false, "more than"},
		{"order without URL", "/order-plz", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 201, "application/json", `{"status":"pending"}`)
		}, issuer.KindAway, false, "URL"},
		{"order at http", "/order-plz", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "http://127.0.0.1:1/order")
			return says(w, 201, "application/json", `{"status":"pending"}`)
		}, issuer.KindAway, false, "must be an https URL"},
		{"order for others", "/order-plz", func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Location", "https://"+r.Host+"/my-order/x")
			return says(w, 201, "application/json", `{"status":"pending","identifiers":[{"type":"dns","value":"b.example"}]}`)
		}, issuer.KindAway, false, "other names"},
		{"malformed order", "/order-plz", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 201, "application/json", `{"status":"pend`)
		}, issuer.KindAway, false, "JSON"},
		{"rate limit", "/order-plz", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "3600")
			return says(w, 429, problem, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}`)
		}, issuer.KindRateLimit, false, "too many certificates"},
		{"lines in a detail", "/order-plz", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 403, problem, `{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"a\n\u001b[2Jb"}`)
		}, issuer.KindOrder, true, "a  [2Jb"},
		{"500", "/order-plz", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 500, "text/html", "<h1>oops</h1>")
		}, issuer.KindAway, false, "500"},
		{"account at http", "/sign-me-up", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "http://127.0.0.1:1/account")
			return says(w, 201, "application/json", `{"status":"valid"}`)
		}, issuer.KindAway, false, "must be an https URL"},
		{"token is a path", "/authZ/", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 200, "application/json", `{"status":"pending","identifier":{"type":"dns","value":"mx.example.test"},`+
				`"challenges":[{"type":"http-01","url":"https://x/","status":"pending","token":"../../../../etc/x-y-z-0123"}]}`)
		}, issuer.KindAway, false, "token"},
		{"authorization of another", "/authZ/", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 200, "application/json", `{"status":"pending","identifier":{"type":"dns","value":"other.example"}}`)
		}, issuer.KindAway, false, "not in the order"},
		{"status of its own", "/authZ/", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 200, "application/json", `{"status":"perhaps","identifier":{"type":"dns","value":"mx.example.test"}}`)
		}, issuer.KindChallenge, false, "perhaps"},
		{"challenge at http", "/authZ/", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 200, "application/json", `{"status":"pending","identifier":{"type":"dns","value":"mx.example.test"},`+
				`"challenges":[{"type":"http-01","url":"http://127.0.0.1:1/","status":"pending","token":"0123456789abcdef"}]}`)
		}, issuer.KindAway, false, "must be an https URL"},
		{"certificate is none", "/certZ/", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 200, "application/pem-certificate-chain", "none")
		}, issuer.KindAway, false, "chain"},
		{"certificate is not there yet", "/certZ/", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 404, problem, `{"type":"urn:ietf:params:acme:error:malformed","detail":"no such certificate"}`)
		}, issuer.KindAway, false, "does not send it yet"},
		{"certificate of another", "/certZ/", func(w http.ResponseWriter, _ *http.Request) bool {
			return says(w, 200, "application/pem-certificate-chain", string(p.front.CA)+string(p.front.CA))
		}, issuer.KindAway, false, "the certificate"},
		{"endless links up", "/certZ/", func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Link", "<https://"+r.Host+r.URL.Path+`x>;rel="up"`)
			return says(w, 200, "application/pem-certificate-chain", string(p.front.CA)+string(p.front.CA))
		}, issuer.KindAway, false, "the certificate"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
				return row.answer != nil && (r.URL.Path == row.path || strings.HasSuffix(row.path, "/") &&
					strings.HasPrefix(r.URL.Path, row.path)) && row.answer(w, r)
			}, nil)
			defer p.front.Hook(nil, nil)
			o := p.options(newMemory())
			r := request(t, "mx.example.test")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			if row.kind == "" {
				obtain(t, o, r)
				return
			}
			no := refused(t, o, r, row.kind, row.final, row.says)
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("it took %s", d)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 100<<20 {
				t.Errorf("%d MB were allocated", n>>20)
			}
			wait := time.Until(no.NotBefore)
			if row.name == "rate limit" && (wait < 50*time.Minute || wait > time.Hour) ||
				row.name == "503 with a time" && (wait < time.Minute || wait > 2*time.Minute) {
				t.Errorf("not before %s", no.NotBefore)
			}
		})
	}
}

// TestAway: a CA that cannot be reached, or whose https certificate is wrong.
func TestAway(t *testing.T) {
	p := start(t, settings{})
	r := request(t, "mx.example.test")
	o := p.options(newMemory())
	o.CAs = nil
	refused(t, o, r, issuer.KindAway, false, "ca_file")
	o = p.options(newMemory())
	o.Directory = "https://" + bed.Local(bed.Port(t)) + "/dir"
	refused(t, o, r, issuer.KindAway, false, "connection refused")
	o = p.options(newMemory())
	o.Now = func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }
	refused(t, o, r, issuer.KindClock, false, "clock")
	for _, bad := range []string{"http://example.test/dir", "letsencrypt2", "", "https://", "file:///etc/passwd"} {
		if u, err := acme.DirectoryURL(bad); err == nil {
			t.Errorf("%q: %s", bad, u)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := client(t, p.options(newMemory())).Ask(ctx, r); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestSlow: mailcertd does not wait for a directory that sends one byte now and then.
func TestSlow(t *testing.T) {
	p := start(t, settings{})
	p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(50 * time.Millisecond)
		}
		return true
	}, nil)
	o := p.options(newMemory())
	o.Patience = 2 * time.Second
	began := time.Now()
	refused(t, o, request(t, "mx.example.test"), issuer.KindAway, false)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %s", d)
	}
}

// TestNothingStays: no goroutine outlives Ask.
func TestNothingStays(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	obtain(t, o, request(t, "mx.example.test"))
	for range 100 {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !strings.Contains(string(stacks), "mailcertd/internal/issuer/acme") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("something still runs")
}
