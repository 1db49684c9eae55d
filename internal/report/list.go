package report

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/plan"
)

// WriteList writes a List row by row, because it may have a million.
func WriteList(to io.Writer, dir string, each func(take func(Listed) error) error) error {
	w := bufio.NewWriterSize(to, 64<<10)
	name, err := json.Marshal(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "{\n  \"version\": %d,\n  \"dir\": %s,\n  \"certificates\": [", ListVersion, name)
	before, after := "\n    ", "]\n}\n"
	err = each(func(l Listed) error {
		_, _ = w.WriteString(before) // Flush returns the error
		b, err := l.appendJSON(w.AvailableBuffer())
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		before, after = ",\n    ", "\n  ]\n}\n"
		return err
	})
	if err != nil {
		return errors.Join(err, w.Flush())
	}
	_, _ = w.WriteString(after)
	return w.Flush()
}

// appendJSON appends the row as json.MarshalIndent would write it. That function takes longer than the rest of the
// list, so it is called only for rows with characters that JSON must escape.
func (l Listed) appendJSON(b []byte) ([]byte, error) {
	plain := isPlain(l.Serial) && isPlain(l.Status) && isPlain(l.Reason) && isPlain(l.Subject) && isPlain(l.Pair)
	for _, name := range l.Names {
		plain = plain && isPlain(name)
	}
	if !plain || len(l.Names) == 0 {
		odd, err := json.MarshalIndent(l, "    ", "  ")
		return append(b, odd...), err
	}
	const line = ",\n      "
	text := func(key, value string) { b = append(append(append(append(b, key...), '"'), value...), '"') }
	moment := func(key string, at time.Time) {
		b = append(at.AppendFormat(append(append(b, key...), '"'), time.RFC3339Nano), '"')
	}
	text("{\n      \"serial\": ", l.Serial)
	text(line+"\"status\": ", l.Status)
	before := line + "\"names\": ["
	for _, name := range l.Names {
		text(before+"\n        ", name)
		before = ","
	}
	moment("\n      ]"+line+"\"expires\": ", l.Expires)
	b = strconv.AppendInt(append(b, line+"\"days\": "...), int64(l.Days), 10)
	if l.Revoked != nil {
		moment(line+"\"revoked\": ", *l.Revoked)
	}
	if l.Reason != "" {
		text(line+"\"reason\": ", l.Reason)
	}
	text(line+"\"subject\": ", l.Subject)
	b = strconv.AppendBool(append(b, line+"\"enrolled\": "...), l.Enrolled)
	if l.Pair != "" {
		text(line+"\"pair\": ", l.Pair)
	}
	return append(b, "\n    }"...), nil
}

// isPlain reports whether JSON writes a string without escapes.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// ListVersion is the version of List.
const ListVersion = 1

// List is `list --json`, version 1. Times are UTC, RFC 3339.
type List struct {
	Version      int      `json:"version"`
	Dir          string   `json:"dir"`
	Certificates []Listed `json:"certificates"`
}

// Listed is one row of the CA's database. Revoked is nil, and Reason is "", for a certificate that is not revoked.
type Listed struct {
	Serial  string     `json:"serial"` // hex
	Status  string     `json:"status"` // valid, expired, revoked
	Names   []string   `json:"names"`
	Expires time.Time  `json:"expires"`
	Days    int        `json:"days"` // full days left; negative after the end
	Revoked *time.Time `json:"revoked,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	Subject string     `json:"subject"`
	// Enrolled says that its host is a member, which asks for the next certificate by itself.
	Enrolled bool `json:"enrolled"`
	// Pair is the pair of this host that uses it; "" for none.
	Pair string `json:"pair,omitempty"`

	Soon bool `json:"-"` // it expires soon, compared with its lifetime
}

// NewListed describes a row of the database of o. here are the certificates that are installed on this host.
func NewListed(o ca.Observed, l ca.Listed, here Installed, now time.Time) Listed {
	return Listed{Serial: l.Serial, Status: l.Status, Names: NonNil(l.Names), Expires: l.Expires,
		Days:    WholeDays(l.Expires, now),
		Revoked: moment(l.Revoked), Reason: l.Reason, Subject: l.Subject,
		Enrolled: len(l.Names) > 0 && ca.Find(o.Members, l.Names[0]) != nil,
		Pair:     here.pair(l),
		Soon:     !now.Before(plan.WarnFrom(l.Begins, l.Expires, Soon))}
}

// Installed are the certificates in the certs directory, by the names of their pairs.
type Installed map[string]*x509.Certificate

// installedIn returns the certificates of an observed certs directory.
func installedIn(d certdir.Dir) Installed {
	here := Installed{}
	for _, p := range certdir.Pairs() {
		if cs := d.Pair(p).Cert.File.Certs; len(cs) > 0 {
			here[p.Name] = cs[0]
		}
	}
	return here
}

// ReadInstalled reads the certificates in the certs directory at path. It leaves out unreadable ones, because they only
// add a remark to the list.
func ReadInstalled(path string) Installed {
	var d certdir.Dir
	for _, p := range certdir.Pairs() {
		d.Pair(p).Cert = certdir.ReadCert(filepath.Join(path, p.CertFile))
	}
	return installedIn(d)
}

// pair is the name of the pair that uses the certificate of that row; "" for none.
func (here Installed) pair(l ca.Listed) string {
	for _, p := range certdir.Pairs() {
		if c := here[p.Name]; c != nil && ca.FormatSerial(c.SerialNumber) == l.Serial && c.NotAfter.Equal(l.Expires) {
			return p.Name
		}
	}
	return ""
}

// WholeDays is the time from now to end in full days, rounded down: 0 on the last day, -1 on the day after the end.
func WholeDays(end, now time.Time) int {
	d := end.Sub(now)
	if d < 0 {
		return int((d - 24*time.Hour + 1) / (24 * time.Hour))
	}
	return int(d / (24 * time.Hour))
}

// Soon is how long before its end a certificate that is not renewed automatically is coloured.
const Soon = 14 * 24 * time.Hour

// Day is the unit for people.
const Day = 24 * time.Hour
