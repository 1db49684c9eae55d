package survey

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// policyFor is how long a policy may take; RFC 8461, section 3.3, suggests a minute.
	policyFor = 20 * time.Second
	// maxPolicy is how long it may be, in octets, as RFC 8461, section 3.3, suggests.
	maxPolicy = 64 << 10
)

// sts reads the MTA-STS record and, where there is one, fetches the policy.
func (s *survey) sts(ctx context.Context) {
	sts := &s.d.STS
	sts.TXT, sts.Texts = s.texts(ctx, "_mta-sts."+s.d.Name)
	if !slices.ContainsFunc(sts.Texts, func(t string) bool { return strings.HasPrefix(t, "v=STSv1") }) {
		return
	}
	sts.Asked = true
	ctx, cancel := context.WithTimeout(ctx, policyFor)
	defer cancel()
	transport := &http.Transport{
		DialContext:            s.dial,
		TLSClientConfig:        &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12, Time: s.now},
		TLSHandshakeTimeout:    policyFor,
		ResponseHeaderTimeout:  policyFor,
		MaxResponseHeaderBytes: maxPolicy,
		DisableKeepAlives:      true,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // RFC 8461, section 3.3: senders follow none
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+s.d.Name+
		"/.well-known/mta-sts.txt", nil)
	if err != nil {
		sts.Err = err.Error()
		return
	}
	answer, err := client.Do(request)
	if err != nil {
		sts.Err = plain(err)
		return
	}
	defer answer.Body.Close()
	sts.Status, sts.Type = answer.Status, answer.Header.Get("Content-Type")
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPolicy+1))
	switch {
	case err != nil:
		sts.Err = plain(err)
	case len(body) > maxPolicy:
		sts.Err = fmt.Sprintf("it has more than %d octets", maxPolicy)
	default:
		sts.Body = string(body)
	}
}

func (s *survey) now() time.Time { return s.Now }

// dial connects to a host by the addresses that the resolver has: this host's own files do not count for a sender.
func (s *survey) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ips, err := s.client.Addresses(ctx, name)
	if err != nil {
		return nil, err
	}
	var bad []error
	for _, ip := range ips {
		c, err := (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(ip.String(), port))
		if err == nil {
			return c, nil
		}
		bad = append(bad, err)
	}
	return nil, errors.Join(bad...)
}

// plain is an error of an HTTP client without the method and the address, which the caller knows.
func plain(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return "no answer in time"
		}
		err = u.Err
	}
	return err.Error()
}
