package plan

import (
	"fmt"
)

// inbox decides about the requests of enrolled hosts. Each gets an answer, if
// only a refusal.
func (a *assessment) inbox(p *Plan) {
	members, box := a.obs.CA.Members, a.obs.Inbox
	if len(members) == 0 && len(box.Pending) == 0 {
		return
	}
	if box.Err != nil {
		p.report(Problem{Reason: InboxDue, Severity: Error, Path: a.cfg.CA.Inbox, Text: box.Err.Error()})
		return
	}
	if len(members) > 0 && (!box.Exists || box.Loose != "") {
		text := "the inbox for enrolled hosts is missing"
		if box.Exists {
			text = box.Loose
		}
		if a.obs.Account.Missing {
			p.report(Problem{Reason: AccountMissing, Severity: Error, Path: a.cfg.CA.Inbox,
				Text: "there is no user " + a.obs.Account.Name + " for enrolled hosts to log in as",
				Hint: "`mailcertd ca enrol` prints the command that makes it"})
			return
		}
		p.report(Problem{Reason: InboxDue, Severity: Warning, Path: a.cfg.CA.Inbox, Mended: true, Text: text})
		p.do(Action{Kind: MakeInbox, Reason: InboxDue, Path: a.cfg.CA.Inbox, Text: "make the inbox for enrolled hosts"})
		return
	}
	if box.Crowded {
		p.report(Problem{Reason: InboxDue, Severity: Error, Path: a.cfg.CA.Inbox, Text: "holds so many names that enrolled hosts may get no answer: somebody has more of " + a.cfg.CA.Account + " than the forced command gives",
			Hint: "empty " + a.cfg.CA.Inbox + "/in, and look at that account's authorized_keys and shell"})
	}
	if n := len(box.Pending); n > 0 {
		hold := ""
		if a.clock != clockFine {
			hold = "the clock of the CA's host cannot be believed"
		}
		p.do(Action{Kind: Answer, Reason: InboxRequest, Path: a.cfg.CA.Inbox, Hold: hold, Text: fmt.Sprintf("answer %d request(s) of enrolled hosts", n)})
	} else if len(box.Stale) > 0 {
		p.do(Action{Kind: Answer, Reason: InboxRequest, Path: a.cfg.CA.Inbox, Text: "clear the inbox of what nobody waits for"})
	}
}
