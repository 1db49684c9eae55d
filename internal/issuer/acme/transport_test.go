package acme

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Both forms of Retry-After are parsed, and no value is obeyed beyond the limit.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	w := &wire{now: func() time.Time { return now }}
	for value, want := range map[string]time.Duration{
		"120": 2 * time.Minute, "0": 0, now.Add(time.Hour).Format(http.TimeFormat): time.Hour,
		now.Add(-time.Hour).Format(http.TimeFormat): 0, "4294967295": maxRetryAfter,
		"Fri, 31 Dec 9999 23:59:59 GMT": maxRetryAfter, "99999999999999999999": -1, "-5": -1, "soon": -1, "": -1,
	} {
		w.last.header = http.Header{"Retry-After": {value}}
		at, has := w.retryAfter()
		if has != (want >= 0) || has && at.Sub(now) != want {
			t.Errorf("%q: %s, %v", value, at, has)
		}
	}
}

func TestLinks(t *testing.T) {
	h := http.Header{"Link": {`<https://a/>;rel="alternate", <https://b/> ; title="x"; rel=alternate`,
		`<https://c/>;rel="index"`, `<https://d/`, `rel="alternate"`}}
	if got := links(h, "alternate"); !slices.Equal(got, []string{"https://a/", "https://b/"}) {
		t.Errorf("%q", got)
	}
	w := &wire{alternates: true}
	h["Link"] = slices.Repeat([]string{`<https://a/>;rel="alternate"`}, 10)
	if w.prune(h); len(h["Link"]) != maxAlternates {
		t.Errorf("%q", h["Link"])
	}
}

// New returns all errors of the options at once, and the short name of a directory is enough.
func TestOptions(t *testing.T) {
	_, err := New(Options{Directory: "http://x", Challenge: "tls", EAB: EAB{KID: "k"}, CAs: []byte("none")})
	for _, want := range []string{"https URL", `challenge "tls"`, "a store", "external account binding", "PEM"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	for _, name := range []string{"letsencrypt", "letsencrypt-staging"} {
		if u, err := DirectoryURL(name); err != nil || !strings.HasPrefix(u, "https://acme-") {
			t.Errorf("%s: %s, %v", name, u, err)
		}
	}
}

func TestPortOf(t *testing.T) {
	for address, want := range map[string]int{"0100007F:0050": 80, "00000000000000000000000000000000:1F90": 8080,
		"": -1, "0100007F": -1, "0100007F:50": -1, "0100007F:XXXX": -1} {
		if got := portOf(address); got != want {
			t.Errorf("%q: %d", address, got)
		}
	}
}
