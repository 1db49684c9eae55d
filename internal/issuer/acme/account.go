package acme

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/text"

	"github.com/mholt/acmez/v3/acme"
)

// login prepares the account: the one that is noted, else the one that the CA has for our key, else a new one. A new
// key is written to the disk before it is sent to the CA.
func (s *session) login(ctx context.Context) error {
	if tos := s.meta().TermsOfService; tos != "" && !s.o.AgreeTOS {
		return termsRefusal(tos)
	}
	saved, err := s.Account()
	if err != nil {
		return err
	}
	key, isNew, err := s.key()
	if err != nil {
		return err
	}
	// The account belongs to another key if the key was lost, or replaced by one from another host or from a backup.
	// The CA would refuse every request then, so the account of the present key is looked for.
	if isNew || saved.Key != "" && saved.Key != keyID(key.Public()) {
		saved = Account{Directory: s.url, Profile: saved.Profile}
	}
	s.saved = saved
	s.account = acme.Account{PrivateKey: key, Location: saved.URL}
	if saved.URL == "" {
		return s.register(ctx, isNew)
	}
	return s.contact(ctx)
}

func termsRefusal(tos string) error {
	return issuer.Refusal{Kind: issuer.KindTOS, Final: true, Reason: fmt.Sprintf(
		"the CA asks that you agree to its terms of service: read %s, then set agree_tos to true",
		text.OneLine(tos, 300))}
}

// key returns the account key. isNew says that it was made just now.
func (s *session) key() (key crypto.Signer, isNew bool, err error) {
	if key, err = s.storedKey(); err != nil || key != nil {
		return key, false, err
	}
	if key, err = pki.GenerateKey(pki.ECDSAP256, rand.Reader); err != nil {
		return nil, false, err
	}
	data, err := pki.MarshalKey(key)
	if err != nil {
		return nil, false, err
	}
	name := s.file("key")
	if err := s.o.Store.Write(name, data); err != nil {
		return nil, false, notStored("the account key %s cannot be written: %v", s.named(name), err)
	}
	return key, true, nil
}

// storedKey reads the account key; nil means that there is none yet.
func (i *Issuer) storedKey() (crypto.Signer, error) {
	name := i.file("key")
	data, err := i.o.Store.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, notStored("the account key %s cannot be read: %v", i.named(name), err)
	}
	key, err := pki.ParseKey(data)
	if err != nil {
		return nil, notStored("the account key %s: %v; put a copy of it back, or remove it: mailcertd then makes "+
			"another account", i.named(name), err)
	}
	return key, nil
}

// keyID names an account key, in the note of its account.
func keyID(pub crypto.PublicKey) string {
	sum := pki.SPKIDigest(pub)
	return hex.EncodeToString(sum[:])
}

// register finds the account that the CA may have for our key, or makes one.
func (s *session) register(ctx context.Context, isNew bool) error {
	s.account.Location = ""
	if !isNew {
		found, err := s.client.GetAccount(ctx, s.account)
		switch {
		case err == nil:
			s.o.Progress("the CA knows the account")
			return s.registered(found)
		case isProblem(err, acme.ProblemTypeUnauthorized):
			return s.deactivated(err)
		case !isProblem(err, acme.ProblemTypeAccountDoesNotExist):
			return s.refuse(ctx, "the account", err)
		}
	}
	a := s.account
	a.TermsOfServiceAgreed, a.Contact = s.o.AgreeTOS, s.contacts()
	bound := s.o.EAB.KID != ""
	if s.meta().ExternalAccountRequired && !bound {
		return forCustomers()
	}
	if bound {
		err := a.SetExternalAccountBinding(ctx, s.client, acme.EAB{KeyID: s.o.EAB.KID,
			MACKey: base64.RawURLEncoding.EncodeToString(s.o.EAB.HMAC)})
		if err != nil {
			return s.refuse(ctx, "the external account binding", err)
		}
	}
	s.o.Progress("creating an account at the CA")
	made, err := s.client.NewAccount(ctx, a)
	switch {
	case err == nil:
		return s.registered(made)
	case bound && isProblem(err, acme.ProblemTypeUnauthorized, acme.ProblemTypeMalformed):
		return asKind(s.refuse(ctx, "the external account binding eab", err), issuer.KindEAB)
	case bound && isProblem(err, acme.ProblemTypeServerInternal): // so step-ca answers to a key that it does not know
		return adding(s.refuse(ctx, "a new account", err),
			"; if it says so again, check eab.kid and eab.hmac_file: some CAs answer so where they do not know the key")
	case isProblem(err, acme.ProblemTypeUnauthorized):
		return s.deactivated(err)
	case isProblem(err, acme.ProblemTypeUserActionRequired):
		if terms := links(s.wire.last.header, "terms-of-service"); len(terms) > 0 {
			return termsRefusal(terms[0])
		}
	}
	return s.refuse(ctx, "a new account", err)
}

// registered checks and notes the account.
func (s *session) registered(a acme.Account) error {
	if a.Status != "" && a.Status != acme.StatusValid {
		return s.deactivated(acme.Problem{Detail: "its status is " + text.OneLine(a.Status, 60)})
	}
	if !strings.HasPrefix(a.Location, "https://") {
		return s.away("the account", badAnswer{fmt.Sprintf("its URL is %.200q, must be an https URL", a.Location)})
	}
	s.account.Location = a.Location
	s.saved = Account{Directory: s.url, URL: a.Location, Key: keyID(s.account.PrivateKey.Public()), Orders: a.Orders,
		Contact: s.o.Contact, Profile: s.saved.Profile}
	return s.save(s.file("account"), s.saved)
}

func (s *session) contacts() []string {
	var out []string
	for _, c := range s.o.Contact {
		out = append(out, "mailto:"+strings.TrimPrefix(c, "mailto:"))
	}
	return out
}

// contact sends changed addresses to the CA. An empty list is not sent, so the CA keeps the addresses that it has.
func (s *session) contact(ctx context.Context) error {
	if slices.Equal(s.saved.Contact, s.o.Contact) || len(s.o.Contact) == 0 {
		return nil
	}
	_, err := s.client.UpdateAccount(ctx, acme.Account{PrivateKey: s.account.PrivateKey, Location: s.account.Location,
		Contact: s.contacts()})
	switch {
	case isProblem(err, acme.ProblemTypeAccountDoesNotExist):
		return s.register(ctx, false)
	case isProblem(err, acme.ProblemTypeUnauthorized):
		return s.deactivated(err)
	case err != nil:
		return s.refuse(ctx, "the contact of the account", err)
	}
	s.saved.Contact = s.o.Contact
	return s.save(s.file("account"), s.saved)
}

// deactivated returns the refusal for an account that cannot be used again: a key has only one account (RFC 8555
// section 7.3.6).
func (s *session) deactivated(err error) error {
	var p acme.Problem
	errors.As(err, &p)
	return issuer.Refusal{Kind: issuer.KindAccount, Final: true, Reason: text.OneLine(fmt.Sprintf(
		"the CA does not accept the account any more: %s; to create another account, remove %s and %s", said(p),
		s.named(s.file("key")), s.named(s.file("account"))), issuer.MaxReason)}
}

// unknown finds out why the CA refuses requests of the account. nil means that the CA knows the account, perhaps under
// another URL, which is noted now.
func (s *session) unknown(ctx context.Context) error {
	return s.register(ctx, false)
}

// asKind changes the kind of a refusal and makes it final.
func asKind(err error, k issuer.Kind) error {
	var r issuer.Refusal
	if errors.As(err, &r) {
		r.Kind, r.Final = k, true
		return r
	}
	return err
}

// adding adds words to the reason of a refusal.
func adding(err error, words string) error {
	var r issuer.Refusal
	if errors.As(err, &r) {
		r.Reason = text.OneLine(r.Reason+words, issuer.MaxReason)
		return r
	}
	return err
}
