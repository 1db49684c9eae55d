package ca

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// The statuses of a row in index.txt, openssl-ca(1).
const (
	Valid   = 'V'
	Revoked = 'R'
	Expired = 'E' // set by `openssl ca -updatedb` alone
)

// Entry is one row of index.txt. A row that cannot be understood has Err set
// and keeps its text: it is written back as it was.
type Entry struct {
	Status  byte
	Expires time.Time
	Revoked time.Time // zero unless Status is Revoked
	Reason  string    // what stands after the revocation date, such as keyCompromise
	Serial  *big.Int
	File    string // a file name, or the word unknown
	Subject string // as pki.OneLine has it
	Line    int    // from 1
	Err     error

	raw string // the row as it was read, without its line feed
}

// ParseIndex reads index.txt: six fields separated by tabs. torn says that the
// last row lacks its line feed and cannot be read: an interrupted write. Such
// a row is not among the entries.
func ParseIndex(data []byte) (rows []Entry, torn bool) {
	text := string(data)
	for n := 1; text != ""; n++ {
		line, rest, whole := strings.Cut(text, "\n")
		text = rest
		e := parseRow(strings.TrimSuffix(line, "\r"))
		e.Line, e.raw = n, line
		if !whole && e.Err != nil {
			return rows, true
		}
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rows = append(rows, e)
	}
	return rows, false
}

func parseRow(line string) Entry {
	f := strings.Split(line, "\t")
	if len(f) != 6 {
		return Entry{Err: fmt.Errorf("has %d fields, want 6", len(f))}
	}
	e := Entry{File: f[4], Subject: f[5]}
	if len(f[0]) != 1 || !strings.Contains("VRE", f[0]) {
		return Entry{Err: fmt.Errorf("status %q, want V, R or E", f[0])}
	}
	e.Status = f[0][0]
	var err error
	if e.Expires, err = parseTime(f[1]); err != nil {
		return Entry{Err: fmt.Errorf("expiry date: %w", err)}
	}
	if e.Status == Revoked {
		date, reason, _ := strings.Cut(f[2], ",")
		if e.Revoked, err = parseTime(date); err != nil {
			return Entry{Err: fmt.Errorf("revocation date: %w", err)}
		}
		e.Reason = reason
	} else if f[2] != "" {
		return Entry{Err: errors.New("has a revocation date and is not revoked")}
	}
	if e.Serial, err = parseSerial(f[3]); err != nil {
		return Entry{Err: err}
	}
	return e
}

// parseTime takes YYMMDDHHMMSSZ (1950 to 2049, RFC 5280 4.1.2.5.1) and
// YYYYMMDDHHMMSSZ.
func parseTime(s string) (time.Time, error) {
	switch len(s) {
	case 13:
		t, err := time.Parse("060102150405Z", s)
		if err == nil && t.Year() >= 2050 {
			t = t.AddDate(-100, 0, 0)
		}
		return t, err
	case 15:
		return time.Parse("20060102150405Z", s)
	}
	return time.Time{}, fmt.Errorf("%q is no date of index.txt", s)
}

func formatTime(t time.Time) string {
	t = t.UTC()
	if t.Year() >= 1950 && t.Year() < 2050 {
		return t.Format("060102150405Z")
	}
	return t.Format("20060102150405Z")
}

// parseSerial takes hexadecimal digits, 40 at most (20 octets, RFC 5280 4.1.2.2).
func parseSerial(s string) (*big.Int, error) {
	n, ok := new(big.Int), s != "" && len(s) <= 40
	for _, c := range s {
		ok = ok && strings.ContainsRune("0123456789abcdefABCDEF", c)
	}
	if ok {
		_, ok = n.SetString(s, 16)
	}
	if !ok {
		return nil, fmt.Errorf("%q is no serial number: want up to 40 hexadecimal digits", clip(s))
	}
	return n, nil
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

// FormatSerial writes a serial as openssl does in its files: upper case, an
// even number of digits.
func FormatSerial(n *big.Int) string {
	s := fmt.Sprintf("%X", n)
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return s
}

// row is the text of an entry.
func (e Entry) row() string {
	if e.raw != "" {
		return e.raw
	}
	revoked := ""
	if e.Status == Revoked {
		revoked = formatTime(e.Revoked)
		if e.Reason != "" {
			revoked += "," + e.Reason
		}
	}
	return strings.Join([]string{string(e.Status), formatTime(e.Expires), revoked, FormatSerial(e.Serial), e.File, e.Subject}, "\t")
}

// formatIndex writes every row, those that were read byte for byte.
func formatIndex(rows []Entry) []byte {
	var b bytes.Buffer
	for _, e := range rows {
		b.WriteString(e.row() + "\n")
	}
	return b.Bytes()
}

// commonName is the CN in a row's subject, "" when it has none.
func (e Entry) commonName() string {
	i := strings.LastIndex(e.Subject, "/CN=")
	if i < 0 {
		return ""
	}
	cn, _, _ := strings.Cut(e.Subject[i+4:], "/")
	return cn
}
