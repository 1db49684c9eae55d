package report

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Peer is `check --peer --json`, version 1. Times are UTC, RFC 3339.
type Peer struct {
	Version     int              `json:"version"`
	Peer        string           `json:"peer"`              // as the user gave it, with the port
	Address     string           `json:"address,omitempty"` // the address that answered
	STARTTLS    bool             `json:"starttls"`          // the peer offered STARTTLS
	Verify      mta.Verify       `json:"verify"`            // "" when the host did not answer as a mail host does
	Reason      string           `json:"reason,omitempty"`  // verifymsg= of a FAIL
	Error       string           `json:"error,omitempty"`
	TLS         string           `json:"tls,omitempty"` // as sendmail writes it: TLSv1.3
	Cipher      string           `json:"cipher,omitempty"`
	Certificate *PeerCertificate `json:"certificate,omitempty"`
	Named       bool             `json:"named"` // the certificate names the host; sendmail does not require it
	NameError   string           `json:"name_error,omitempty"`
	Asked       bool             `json:"asked_for_ours"`
	Presented   bool             `json:"presented_ours"`
	ListsOurs   bool             `json:"lists_our_issuer"` // our issuer is in the list of CAs that the peer accepts
	Refused     string           `json:"refused,omitempty"`
	Own         Own              `json:"own"`
	OwnServer   []OwnServer      `json:"own_server,omitempty"`
	TrustUsed   bool             `json:"sendmail_names_these_files"` // sendmail.cf names these files
	ByCF        bool             `json:"-"`                          // judged by the files that sendmail.cf names
}

// PeerCertificate is the peer's leaf.
type PeerCertificate struct {
	Serial    string    `json:"serial"`
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// OwnServer is a certificate that sendmail on this host shows when the peer sends mail here, judged by the CAs that
// this host trusts.
type OwnServer struct {
	Serial string     `json:"serial"`
	Issuer string     `json:"issuer"`
	Verify mta.Verify `json:"verify"`
	Reason string     `json:"reason,omitempty"`
}

// Own is the chain that this host shows as a client, judged by the CAs that this host trusts.
type Own struct {
	Serial  string     `json:"serial,omitempty"`
	Verify  mta.Verify `json:"verify"` // "" for no certificate
	Reason  string     `json:"reason,omitempty"`
	Trouble string     `json:"trouble,omitempty"` // why no certificate was shown
}

// NewPeer describes what the peer answered. o are the options with which it was asked.
func NewPeer(r mta.PeerReport, o mta.PeerOptions) Peer {
	rep := Peer{Version: 1, Peer: r.Addr, Address: r.Remote, STARTTLS: r.Offered, Verify: r.Verify, Reason: r.Reason,
		Asked: r.Asked, Presented: r.Presented, ListsOurs: r.ListsOurs,
		Own: Own{Verify: r.Own, Reason: r.OwnReason, Trouble: r.OwnTrouble}}
	if r.Err != nil {
		rep.Error = plain(r.Err)
	}
	if r.Alert != nil {
		rep.Refused = plain(r.Alert)
	}
	if o.Leaf != nil {
		rep.Own.Serial = ca.FormatSerial(o.Leaf.SerialNumber)
	}
	if len(r.Chain) == 0 {
		return rep
	}
	for _, s := range r.Served {
		rep.OwnServer = append(rep.OwnServer, OwnServer{Serial: ca.FormatSerial(s.Leaf.SerialNumber),
			Issuer: pki.OneLine(s.Leaf.RawIssuer), Verify: s.Verify, Reason: s.Reason})
	}
	rep.TLS, rep.Cipher = tlsName(r.Version), tls.CipherSuiteName(r.Cipher)
	if r.CipherName != "" {
		rep.Cipher = r.CipherName
	}
	rep.Certificate = describePeerCert(r.Chain[0])
	rep.Named = r.NameErr == nil
	if r.NameErr != nil {
		rep.NameError = "the certificate is for " + cmp.Or(strings.Join(rep.Certificate.Names, ", "), "no host name") +
			", not for " + o.Host
	}
	return rep
}

func describePeerCert(c *x509.Certificate) *PeerCertificate {
	return &PeerCertificate{Serial: ca.FormatSerial(c.SerialNumber), Subject: pki.OneLine(c.RawSubject),
		Issuer: pki.OneLine(c.RawIssuer),
		Names:  NonNil(plan.CertNames(c)), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC()}
}

// tlsName is SSL_get_version(3), which sendmail logs as version=.
func tlsName(v uint16) string {
	if v == tls.VersionTLS10 {
		return "TLSv1"
	}
	return strings.Replace(tls.VersionName(v), "TLS ", "TLSv", 1)
}
