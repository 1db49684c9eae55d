package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/text"
)

// The statuses of a row in index.txt, openssl-ca(1).
const (
	Valid   = 'V'
	Revoked = 'R'
	Expired = 'E' // set by `openssl ca -updatedb` alone
)

// Entry is one row of index.txt. A row that cannot be parsed has Err set and keeps its text, so that it is written back
// as it was.
type Entry struct {
	Status  byte
	Expires time.Time
	Revoked time.Time // zero unless Status is Revoked
	Reason  string    // the text after the revocation date, such as keyCompromise
	Serial  *big.Int
	File    string // a file name, or the word unknown
	Subject string // in the form of pki.OneLine
	Line    int    // from 1
	Err     error

	raw     string // the row as it was read, without its line feed
	text    string // its serial as it was read, when that is as FormatSerial writes it
	refused string // why `openssl ca` refuses all of index.txt because of this row; "": it does not
}

// errCut is the Err of a last line that begins as a revoked row and was cut off.
var errCut = errors.New("is cut off and starts with R: a certificate was revoked")

// parseIndex parses all of an index.txt into memory, for a file that is small or has to be changed; questions about a
// large one go through scan. torn means that the last line has no line feed and cannot be parsed, because a write was
// interrupted. Such a line is not among the rows, unless it begins as a revocation: only a rewrite of the whole file
// writes one of those, so it cannot be a row that was just being added.
func parseIndex(data []byte) (rows []Entry, torn bool) {
	text := string(data)
	for n := 1; text != ""; n++ {
		line, rest, whole := strings.Cut(text, "\n")
		text = rest
		e, kind := readRow(line, n, whole)
		switch kind {
		case aTornRow:
			return rows, true
		case aRow:
			rows = append(rows, e)
		}
	}
	return rows, false
}

// The kinds of a line of index.txt.
type lineKind int

const (
	aRow lineKind = iota
	aTornRow
	noRow // a comment or an empty line
)

// readRow parses line n, counted from 1. The text has no line feed; whole means that the file has one after it.
func readRow(line string, n int, whole bool) (Entry, lineKind) {
	e := parseRow(strings.TrimSuffix(line, "\r"))
	e.Line, e.raw = n, line
	if !whole && e.Err != nil {
		if !strings.HasPrefix(line, string(Revoked)) {
			return e, aTornRow
		}
		e.Err = errCut
	}
	if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
		return e, noRow
	}
	return e, aRow
}

func parseRow(line string) Entry {
	var f [6]string
	rest, n := line, 0
	for more := true; more; n++ {
		var field string
		if field, rest, more = strings.Cut(rest, "\t"); n < len(f) {
			f[n] = field
		}
	}
	if n != len(f) {
		return Entry{Err: fmt.Errorf("has %d fields: must be 6", n)}
	}
	e := Entry{File: f[4], Subject: f[5]}
	if len(f[0]) != 1 || !strings.Contains("VRE", f[0]) {
		return Entry{Err: fmt.Errorf("status %q: must be V, R or E", f[0])}
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
		if word, _, _ := strings.Cut(reason, ","); !opensslReason(word) {
			e.refused = fmt.Sprintf("%q is not a reason for a revocation", text.Clip(word, mostQuoted))
		}
	} else if f[2] != "" {
		return Entry{Err: errors.New("has a revocation date but is not revoked")}
	}
	if e.Serial, err = parseSerial(f[3]); err != nil {
		return Entry{Err: err}
	}
	if canonicalSerial(f[3]) {
		e.text = f[3]
	} else if len(f[3])%2 == 1 {
		e.refused = fmt.Sprintf("the serial number %q must have an even number of digits", f[3])
	}
	return e
}

// opensslReason says whether openssl-ca(1) knows this word as a reason. It refuses an index.txt with any other.
func opensslReason(word string) bool {
	_, known := reasonCodes[word]
	return known || word == "" || opensslWords[word] != 0
}

// opensslWords are the reasons that `openssl ca` writes into index.txt beside those of Reasons, with their codes (RFC
// 5280 5.3.1).
var opensslWords = map[string]int{"holdInstruction": 6, "keyTime": 1, "CAkeyTime": 2, "removeFromCRL": 8}

// names is the serial, in the form of FormatSerial, of a row that cannot be parsed otherwise; it is "" where the row
// has none.
func (e Entry) names() string {
	f := strings.Split(e.raw, "\t")
	if len(f) < 5 { // without a tab after it, the serial may be cut off
		return ""
	}
	n, err := parseSerial(f[3])
	if err != nil {
		return ""
	}
	return FormatSerial(n)
}

// serial is the row's serial in the form of FormatSerial.
func (e *Entry) serial() string {
	if e.text != "" {
		return e.text
	}
	return FormatSerial(e.Serial)
}

func parseTime(s string) (time.Time, error) {
	seconds, ok := readSeconds([]byte(s))
	if !ok {
		return time.Time{}, fmt.Errorf("%q is not a date in the format of index.txt", text.Clip(s, mostQuoted))
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// readSeconds parses YYMMDDHHMMSSZ (1950 to 2049, RFC 5280 4.1.2.5.1) and YYYYMMDDHHMMSSZ into seconds since 1970.
func readSeconds(s []byte) (int64, bool) {
	if len(s) != 13 && len(s) != 15 || s[len(s)-1] != 'Z' {
		return 0, false
	}
	first, ok := readPairs(s) // the year, and what follows it
	last, okLast := readPairs(s[len(s)-9:])
	if !ok || !okLast {
		return 0, false
	}
	year, month := pairOf(first, 0), pairOf(first, 1)
	if len(s) == 15 {
		year, month = 100*year+month, pairOf(first, 2)
	} else if year += 1900; year < 1950 {
		year += 100
	}
	day, hour, minute, second := pairOf(last, 0), pairOf(last, 1), pairOf(last, 2), pairOf(last, 3)
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	return int64(daysTo(year, month)+day-1)*86400 + int64(hour*3600+minute*60+second), true
}

// readPairs parses the first eight octets of s as four numbers of two digits, for pairOf. ok is false where one of the
// octets is not a digit. It handles all eight at once, because a scan of a large index.txt parses a date in each row.
func readPairs(s []byte) (pairs uint64, ok bool) {
	const high, zeros = 0xf0f0f0f0f0f0f0f0, 0x3030303030303030
	eight := binary.LittleEndian.Uint64(s)
	if eight&high != zeros || (eight+0x0606060606060606)&high != zeros {
		return 0, false
	}
	eight -= zeros
	return (10*eight + eight>>8) & 0x00ff00ff00ff00ff, true
}

// pairOf is one of the four numbers of readPairs, counted from 0.
func pairOf(pairs uint64, n int) int { return int(pairs >> (16 * n) & 0xff) }

func leap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// daysIn is the number of days in a month, 28 to 31.
func daysIn(year, month int) int {
	if month == 2 && leap(year) {
		return 29
	}
	return 28 + int("\x03\x00\x03\x02\x03\x02\x03\x03\x02\x03\x02\x03"[month-1])
}

// daysTo counts the days from 1970-01-01 to the first day of a month. It replaces time.Date, which would take a quarter
// of the time of a whole scan.
func daysTo(year, month int) int {
	if year >= firstYear && year < endYear {
		return int(monthStarts[12*(year-firstYear)+month-1])
	}
	return countDays(year, month)
}

// The years whose months are in monthStarts: those of the dates that have two digits for the year, and the next fifty.
const (
	firstYear = 1950
	endYear   = 2100
)

// monthStarts are the results of countDays.
var monthStarts = func() (days [12 * (endYear - firstYear)]int32) {
	for i := range days {
		days[i] = int32(countDays(firstYear+i/12, i%12+1))
	}
	return days
}()

func countDays(year, month int) int {
	const to1970 = 719468 // days from 0000-03-01 to 1970-01-01
	if month <= 2 {       // the year begins in March, so that the leap day is its last
		year, month = year-1, month+12
	}
	year += 400 // a division of a negative number would round the wrong way
	return year*365 + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 - to1970 - 146097
}

func formatTime(t time.Time) string {
	t = t.UTC()
	if t.Year() >= 1950 && t.Year() < 2050 {
		return t.Format("060102150405Z")
	}
	return t.Format("20060102150405Z")
}

// parseSerial parses 1 to 40 hexadecimal digits (20 octets, RFC 5280 4.1.2.2).
func parseSerial(s string) (*big.Int, error) {
	n, ok := new(big.Int), s != "" && len(s) <= 40
	var small uint64
	for _, c := range []byte(s) {
		d, hex := hexDigit(c)
		ok = ok && hex
		small = small<<4 | uint64(d)
	}
	if ok && len(s) <= 16 {
		return n.SetUint64(small), nil
	}
	if ok {
		_, ok = n.SetString(s, 16)
	}
	if !ok {
		return nil, fmt.Errorf("%q is not a serial number: must be up to 40 hexadecimal digits",
			text.Clip(s, mostQuoted))
	}
	return n, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// mostQuoted bounds how much of a wrong field an error shows, in octets.
const mostQuoted = 60

// FormatSerial writes a serial as openssl does in its files: upper case, an
// even number of digits.
func FormatSerial(n *big.Int) string {
	s := fmt.Sprintf("%X", n)
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return s
}

// row is the row's text without a line feed: as it was read, or made from the fields for a new or changed row.
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
	return strings.Join([]string{string(e.Status), formatTime(e.Expires), revoked, FormatSerial(e.Serial), e.File,
		e.Subject}, "\t")
}

// formatIndex is the text of all rows. Rows that were read keep their bytes.
func formatIndex(rows []Entry) []byte {
	var b bytes.Buffer
	for _, e := range rows {
		b.WriteString(e.row() + "\n")
	}
	return b.Bytes()
}

// commonName is the CN in the row's subject; it is "" where there is none.
func (e *Entry) commonName() string { return string(commonName([]byte(e.Subject))) }

// entryFor is the row of a certificate that was just issued. Where the certificate has no subject, the row has the
// serial number in its place, as openssl writes it.
func entryFor(c *x509.Certificate) Entry {
	e := Entry{Status: Valid, Expires: c.NotAfter, Serial: c.SerialNumber, File: "unknown",
		Subject: pki.OneLine(c.RawSubject)}
	if e.Subject == "" {
		e.Subject = FormatSerial(e.Serial)
	}
	return e
}
