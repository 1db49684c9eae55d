package ca

import (
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/pki"
)

// lastLeaves sets LastLeaf of each older generation: the end of its certificate that is valid longest. It reads the
// rows in order of their end, latest first, so that few files need to be opened. A certificate whose file is missing
// counts for every generation that was valid at that time. Where index.txt may lack rows, any generation may have
// signed the missing ones, and each counts until its own certificate expires.
func (o *Observed) lastLeaves(dir string) error {
	if len(o.Older) == 0 {
		return nil
	}
	if err := o.db.unread(); err != nil {
		for i := range o.Older {
			o.Older[i].Err = errors.Join(o.Older[i].Err, err)
		}
		return nil
	}
	if !o.db.complete() {
		for i := range o.Older {
			if c := o.Older[i].Cert; c != nil {
				o.Older[i].LastLeaf = c.NotAfter
			}
		}
		return nil
	}
	gens := append([]Generation{o.Current}, o.Older...)
	var of strings.Builder
	for _, g := range gens {
		if g.Cert != nil {
			of.WriteString(fmt.Sprintf("%d:%x ", g.N, g.Cert.SubjectKeyId))
		}
	}
	if o.db.leaves == nil || o.db.leavesOf != of.String() {
		leaves, err := findLastLeaves(dir, o.db, gens)
		if err != nil {
			return err
		}
		o.db.leaves, o.db.leavesOf = leaves, of.String()
	}
	for i := range o.Older {
		o.Older[i].LastLeaf = o.db.leaves[o.Older[i].N]
	}
	return nil
}

// findLastLeaves returns the end of the last certificate of each older generation, by its number. gens begins with the
// current generation, whose end is not asked.
func findLastLeaves(dir string, db *database, gens []Generation) (map[int]time.Time, error) {
	ends, open := map[int]time.Time{}, map[int]Generation{}
	for _, g := range gens[1:] {
		if g.Cert != nil {
			open[g.N] = g
		}
	}
	var from *Entry
	for most := leastKept; len(open) > 0; most *= 8 {
		rows, err := db.selection(most, valid, latest, from)
		if err != nil {
			return nil, err
		}
		for _, e := range rows {
			signer := signedBy(dir, gens, e.Serial)
			for n, g := range open {
				if e.Expires.Before(g.Cert.NotBefore) {
					delete(open, n)
				} else if signer == fileGone && !e.Expires.After(g.Cert.NotAfter) || signer == n {
					ends[n] = e.Expires
					delete(open, n)
				}
			}
			if len(open) == 0 {
				break
			}
		}
		if len(rows) < most {
			break
		}
		from = &rows[len(rows)-1]
	}
	return ends, db.still()
}

// Results of signedBy that are not the number of a generation.
const (
	fileGone   = -1 // newcerts has no such certificate, or it cannot be read
	signedElse = -2 // none of the generations signed it
)

// signedBy returns the number of the generation that signed the certificate with that serial; 0 is the current one.
func signedBy(dir string, gens []Generation, serial *big.Int) int {
	cs, err := readCerts(filepath.Join(dir, NewCertsDir, FormatSerial(serial)+".pem"))
	if len(cs) == 0 || err != nil {
		return fileGone
	}
	for _, g := range gens {
		if g.Cert != nil && pki.IssuedBy(cs[0], g.Cert) {
			return g.N
		}
	}
	return signedElse
}

// Prunable says whether Prune would remove an older generation.
func Prunable(o Observed, now time.Time) bool {
	return slices.ContainsFunc(o.Older, func(g Generation) bool { return o.prunable(g, now) })
}

// ended says whether the generation's certificate or its last leaf has expired. A generation that could not be read has
// not ended, nor has one without a certificate while its key is present.
func (g Generation) ended(now time.Time) bool {
	if g.Err != nil {
		return false
	}
	if g.Cert == nil {
		return !g.HasKey
	}
	return now.After(g.LastLeaf) || now.After(g.Cert.NotAfter)
}
