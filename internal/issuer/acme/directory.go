package acme

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/text"

	"github.com/mholt/acmez/v3/acme"
)

// session is one question with the directory as it is now and the account.
type session struct {
	*Issuer
	wire    *wire
	http    *http.Client
	client  *acme.Client
	dir     acme.Directory
	account acme.Account
	saved   Account
}

// open reads the directory. acmez would keep a directory for half a day, and ask for the renewal information of every
// chain that it downloads. To prevent both, it gets the directory that was read here without the URL for renewal
// information, under a name of its own (a fragment in the URL).
func (i *Issuer) open(ctx context.Context) (*session, error) {
	w := &wire{base: i.transport(), now: i.o.Now, url: i.url, alternates: i.o.PreferredChain != ""}
	s := &session{Issuer: i, wire: w, http: &http.Client{Transport: w, Timeout: i.answerIn}}
	if err := s.directory(ctx); err != nil {
		s.close()
		return nil, err
	}
	hidden := s.dir
	hidden.RenewalInfo = ""
	known, err := json.Marshal(hidden)
	if err != nil {
		s.close()
		return nil, err
	}
	sum := sha256.Sum256(known)
	w.known, w.newOrder = known, s.dir.NewOrder
	s.client = &acme.Client{Directory: i.url + "#" + hex.EncodeToString(sum[:8]), HTTPClient: s.http,
		UserAgent: i.o.Agent,
		// This package waits itself, so acmez must not.
		PollInterval: time.Nanosecond, PollTimeout: time.Nanosecond}
	return s, nil
}

// close closes the connections.
func (s *session) close() { s.http.CloseIdleConnections() }

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (w *wire) CloseIdleConnections() {
	if t, ok := w.base.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// get reads a JSON document without an account.
func (s *session) get(ctx context.Context, u string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return badAnswer{fmt.Sprintf("%.200q is not a URL", u)}
	}
	if s.o.Agent != "" {
		req.Header.Set("User-Agent", s.o.Agent)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body := s.wire.last.body
	if resp.StatusCode != http.StatusOK {
		p := acme.Problem{Status: resp.StatusCode}
		if json.Unmarshal(body, &p) != nil || p.Detail == "" {
			p.Detail = http.StatusText(resp.StatusCode)
		}
		p.Status = resp.StatusCode
		return p
	}
	if err := json.Unmarshal(body, v); err != nil {
		return badAnswer{fmt.Sprintf("%s does not answer with JSON of ACME: %s", req.URL.Host,
			text.OneLine(err.Error(), 200))}
	}
	return nil
}

func (s *session) directory(ctx context.Context) error {
	err := s.get(ctx, s.url, &s.dir)
	if err != nil {
		return s.refuse(ctx, "the directory "+s.url, err)
	}
	for name, u := range map[string]string{"newNonce": s.dir.NewNonce, "newAccount": s.dir.NewAccount,
		"newOrder": s.dir.NewOrder, "renewalInfo": s.dir.RenewalInfo} {
		if u == "" && name == "renewalInfo" {
			continue
		}
		if p, err := url.Parse(u); err != nil || p.Scheme != "https" || p.Host == "" {
			return s.refuse(ctx, "the directory "+s.url, badAnswer{fmt.Sprintf("%s is %.200q, must be an https URL",
				name, u)})
		}
	}
	return nil
}

func (s *session) meta() acme.DirectoryMeta {
	if s.dir.Meta == nil {
		return acme.DirectoryMeta{}
	}
	return *s.dir.Meta
}

// profile returns the profile for the order. For servers Let's Encrypt itself advises tlsserver.
func (s *session) profile() (string, error) {
	offered := s.meta().Profiles
	if s.o.Profile == "" {
		const server = "tlsserver"
		u, err := url.Parse(s.url)
		if _, has := offered[server]; has && err == nil && strings.HasSuffix(u.Hostname(), ".letsencrypt.org") {
			return server, nil
		}
		return "", nil
	}
	if _, has := offered[s.o.Profile]; !has {
		names := "none"
		if len(offered) > 0 {
			names = strings.Join(slices.Sorted(maps.Keys(offered)), ", ")
		}
		return "", issuer.Refusal{Kind: issuer.KindOrder, Final: true, Reason: fmt.Sprintf(
			"the CA does not offer the profile %s; it offers: %s", s.o.Profile, text.OneLine(names, 300))}
	}
	return s.o.Profile, nil
}
