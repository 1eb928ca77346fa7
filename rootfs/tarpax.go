package rootfs

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A paxRecord is one KEY=value of an extended header; the order matters to
// sparse files of format 0.0.
type paxRecord struct{ key, value string }

type paxRecords []paxRecord

// parsePAX reads "LENGTH KEY=VALUE\n" records, pax(1).
func parsePAX(b []byte) (paxRecords, error) {
	var recs paxRecords
	s := string(b)
	for s != "" {
		digits, _, ok := strings.Cut(s, " ")
		n, err := strconv.ParseUint(digits, 10, 31)
		if !ok || err != nil || n < uint64(len(digits))+3 || n > uint64(len(s)) || s[n-1] != '\n' {
			return nil, fmt.Errorf("%w: an extended record has a wrong length", errHeader)
		}
		key, value, ok := strings.Cut(s[len(digits)+1:n-1], "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%w: an extended record has no name", errHeader)
		}
		recs = append(recs, paxRecord{key, value})
		s = s[n:]
	}
	return recs, nil
}

// apply works the records into h; the last of a kind wins. An empty value
// takes back what an earlier record said.
func (recs paxRecords) apply(h *header) error {
	for _, r := range recs {
		var err error
		switch r.key {
		case "path":
			h.name, err = paxString(r.value, h.name)
		case "linkpath":
			h.link, err = paxString(r.value, h.link)
		case "size":
			h.size, err = paxNumber(r.value, h.size)
		case "uid":
			h.uid, err = paxNumber(r.value, h.uid)
		case "gid":
			h.gid, err = paxNumber(r.value, h.gid)
		case "mtime":
			h.mtime, err = paxTime(r.value, h.mtime)
		case "atime":
			h.atime, err = paxTime(r.value, h.atime)
		default:
			err = h.paxXattr(r)
		}
		if err != nil {
			return fmt.Errorf("%w: record %s of %s is wrong", errHeader, quote(r.key), quote(h.name))
		}
	}
	return nil
}

// paxXattr takes an extended attribute in the words of star (and GNU tar), of
// libarchive, or an access list as text.
func (h *header) paxXattr(r paxRecord) error {
	if name, ok := strings.CutPrefix(r.key, "SCHILY.xattr."); ok {
		h.setXattr(name, r.value)
		return nil
	}
	if name, ok := strings.CutPrefix(r.key, "LIBARCHIVE.xattr."); ok {
		plain, err := unescape(name)
		if err != nil {
			return err
		}
		value, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(r.value, "="))
		if err != nil {
			return err
		}
		h.setXattr(plain, string(value))
		return nil
	}
	switch r.key {
	case "SCHILY.acl.access":
		h.setXattr(aclAccess, r.value)
	case "SCHILY.acl.default":
		h.setXattr(aclDefault, r.value)
	}
	return nil
}

// unescape undoes %XX.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		plain, rest, ok := strings.Cut(s, "%")
		b.WriteString(plain)
		if !ok {
			return b.String(), nil
		}
		if len(rest) < 2 {
			return "", errHeader
		}
		c, err := strconv.ParseUint(rest[:2], 16, 8)
		if err != nil {
			return "", err
		}
		b.WriteByte(byte(c))
		s = rest[2:]
	}
}

// setXattr replaces, so that an attribute in two notations is set once.
func (h *header) setXattr(name, value string) {
	for i := range h.xattrs {
		if h.xattrs[i].name == name {
			h.xattrs[i].value = value
			return
		}
	}
	h.xattrs = append(h.xattrs, xattr{name, value})
}

func paxString(v, old string) (string, error) {
	if strings.IndexByte(v, 0) >= 0 {
		return "", errHeader
	}
	if v == "" {
		return old, nil
	}
	return v, nil
}

func paxNumber(v string, old int64) (int64, error) {
	if v == "" {
		return old, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, errHeader
	}
	return n, nil
}

// paxTime reads seconds with a fraction, which for a negative time counts
// towards the past.
func paxTime(v string, old time.Time) (time.Time, error) {
	if v == "" {
		return old, nil
	}
	whole, frac, _ := strings.Cut(v, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(frac, "0123456789") != "" {
		return time.Time{}, errHeader
	}
	nano, err := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	if strings.HasPrefix(whole, "-") {
		nano = -nano
	}
	return time.Unix(sec, nano), nil
}

// get gives the last value of a record.
func (recs paxRecords) get(key string) (string, bool) {
	for i := len(recs) - 1; i >= 0; i-- {
		if recs[i].key == key {
			return recs[i].value, true
		}
	}
	return "", false
}
