package acme

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/text"
)

// Store keeps small files. When Write returns, the complete file is on the disk, with mode 0600. Names contain no
// slash.
type Store interface {
	// Read returns an error that is fs.ErrNotExist if the file does not exist.
	Read(name string) ([]byte, error)
	Write(name string, data []byte) error
	Remove(name string) error
}

// tracesFile notes what was published where others see it and must be removed again. There is one file for all
// directories.
const tracesFile = "traces.json"

// maxOpen is the largest number of orders that are noted at the same time.
const maxOpen = 8

// file returns the name of a file that belongs to this directory.
func (i *Issuer) file(kind string) string {
	sum, host := sha256.Sum256([]byte(i.url)), ""
	if u, err := url.Parse(i.url); err == nil {
		host = u.Hostname()
	}
	host = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' {
			return c
		}
		return '_'
	}, strings.ToLower(host))
	return fmt.Sprintf("%.80s-%s.%s", host, hex.EncodeToString(sum[:4]), kind)
}

// named returns the path of a file of the Store, for messages.
func (i *Issuer) named(name string) string { return filepath.Join(i.o.Dir, name) }

// Account is what is known about the account without asking the CA.
type Account struct {
	Directory string   `json:"directory"`
	URL       string   `json:"url"`              // "" means that there is none yet
	Key       string   `json:"key,omitempty"`    // the SHA-256 of the public key of the account; "" in older notes
	Orders    string   `json:"orders,omitempty"` // the URL of its list of orders, if the CA has one
	Contact   []string `json:"contact,omitempty"`
	// Profile is the profile that the last order asked for; "" means the choice of the CA.
	Profile string `json:"profile,omitempty"`
}

// Account returns the account that is noted in the Store.
func (i *Issuer) Account() (Account, error) {
	a := Account{}
	if err := i.load(i.file("account"), &a); err != nil {
		return Account{}, err
	}
	a.Directory = i.url
	return a, nil
}

// ReadAccount returns the account that is noted in a Store for a directory.
func ReadAccount(directory string, s Store) (Account, error) {
	u, err := DirectoryURL(directory)
	if err != nil {
		return Account{}, err
	}
	return (&Issuer{o: Options{Store: s}, url: u}).Account()
}

// openOrder is an order that was placed, or that is about to be placed and has no URL yet.
type openOrder struct {
	Names    []string  `json:"names"`
	Key      string    `json:"key"` // the SHA-256 of the public key of the certificate
	Profile  string    `json:"profile,omitempty"`
	Replaces string    `json:"replaces,omitempty"` // RFC 9773 section 4.1
	URL      string    `json:"url,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	Since    time.Time `json:"since"`
	// Taken says that the caller has stored the certificate. The note stays as long as the CA has the order, because
	// the caller may lose the certificate.
	Taken bool `json:"taken,omitempty"`
}

func (o openOrder) is(w want) bool { return o.Key == w.keyID && slices.Equal(o.Names, w.names) }

// orders returns the notes of open orders, the oldest first.
func (i *Issuer) orders() ([]openOrder, error) {
	var all []openOrder
	err := i.load(i.file("orders"), &all)
	return all, err
}

// note writes the note of an order and replaces the one for the same names and key. Notes for other keys are removed
// when their orders have expired, or when there are too many.
func (i *Issuer) note(w want, o openOrder) error {
	all, err := i.orders()
	if err != nil {
		return err
	}
	now := i.o.Now()
	all = slices.DeleteFunc(all, func(x openOrder) bool {
		return x.is(w) || x.Taken && now.After(x.Expires) ||
			!x.Expires.IsZero() && now.After(x.Expires.Add(keepExpired))
	})
	all = append(all, o)
	return i.save(i.file("orders"), all[max(0, len(all)-maxOpen):])
}

// keepExpired is how long the note of an order for another key is kept after the order has expired.
const keepExpired = 30 * 24 * time.Hour

// noted returns the note of an order for these names and this key.
func (i *Issuer) noted(w want) (openOrder, bool, error) {
	all, err := i.orders()
	at := slices.IndexFunc(all, func(x openOrder) bool { return x.is(w) })
	if err != nil || at < 0 {
		return openOrder{}, false, err
	}
	return all[at], true, nil
}

// forget removes the note of an order.
func (i *Issuer) forget(w want) error {
	all, err := i.orders()
	if err != nil {
		return err
	}
	n := len(all)
	if all = slices.DeleteFunc(all, func(x openOrder) bool { return x.is(w) }); len(all) == n {
		return nil
	}
	return i.save(i.file("orders"), all)
}

// taken notes that the caller has stored the certificate of an order.
func (i *Issuer) taken(w want) error {
	o, has, err := i.noted(w)
	if err != nil || !has || o.Taken {
		return err
	}
	if o.URL == "" {
		return i.forget(w)
	}
	o.Taken = true
	return i.note(w, o)
}

// load reads a note into v. If there is none, v stays as it is.
func (i *Issuer) load(name string, v any) error {
	data, err := i.o.Store.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return notStored("%s cannot be read: %v", i.named(name), err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return notStored("%s is damaged: %v; remove it if you do not have a copy of it", i.named(name), err)
	}
	return nil
}

func (i *Issuer) save(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = i.o.Store.Write(name, append(data, '\n'))
	}
	if err != nil {
		return notStored("%s cannot be written: %v", i.named(name), err)
	}
	return nil
}

// notStored is the refusal for a file of the Store that is damaged, or that cannot be read or written. The CA has
// nothing to do with it.
func notStored(format, path string, err error) issuer.Refusal {
	return issuer.Refusal{Kind: issuer.KindStore,
		Reason: text.OneLine(fmt.Sprintf(format, path, err), issuer.MaxReason)}
}
