/* The identity that processes are shown: user and group ids, and capabilities. */
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

#include "calls.h"

bool creds_in_group(const struct creds *c, gid_t gid)
{
	if (gid == c->fsgid)
		return true;
	for (int n = 0; n < c->groups->count; n++)
		if (c->groups->ids[n] == gid)
			return true;
	return false;
}

void creds_copy(struct creds *to, const struct creds *from)
{
	struct groups *old = to->groups;
	*to = *from;
	to->groups->refs++;
	if (old && !--old->refs)
		free(old);
}

bool has_capability(const struct task *t, int number)
{
	return !options.ids || t->creds.effective >> number & 1;
}

/* Update the capabilities after a change of user ids. */
static void settle(struct creds *c, const struct creds *before)
{
	bool was = !before->uid || !before->euid || !before->suid, is = !c->uid || !c->euid || !c->suid;
	if (was && !is && !c->keep)
		c->permitted = c->effective = 0;
	if (!before->euid && c->euid)
		c->effective = 0;
	if (before->euid && !c->euid)
		c->effective = c->permitted;
	c->fsuid = c->euid;
}

static long set_users(struct call *c, uid_t uid, uid_t euid, uid_t suid)
{
	struct creds *now = &c->t->creds, before = *now;
	uid_t wanted[3] = {uid, euid, suid};
	for (int n = 0; n < 3; n++)
		if (wanted[n] != (uid_t)-1 && !has_capability(c->t, 7 /* CAP_SETUID */) && wanted[n] != now->uid &&
		    wanted[n] != now->euid && wanted[n] != now->suid)
			return -EPERM;
	if (uid != (uid_t)-1)
		now->uid = uid;
	if (euid != (uid_t)-1)
		now->euid = euid;
	if (suid != (uid_t)-1)
		now->suid = suid;
	settle(now, &before);
	return 0;
}

static long set_all_groups(struct call *c, gid_t gid, gid_t egid, gid_t sgid)
{
	struct creds *now = &c->t->creds;
	gid_t wanted[3] = {gid, egid, sgid};
	for (int n = 0; n < 3; n++)
		if (wanted[n] != (gid_t)-1 && !has_capability(c->t, 6 /* CAP_SETGID */) && wanted[n] != now->gid &&
		    wanted[n] != now->egid && wanted[n] != now->sgid)
			return -EPERM;
	if (gid != (gid_t)-1)
		now->gid = gid;
	if (egid != (gid_t)-1)
		now->egid = egid;
	if (sgid != (gid_t)-1)
		now->sgid = sgid;
	now->fsgid = now->egid;
	return 0;
}

long do_getuid(struct call *c) { return (long)c->t->creds.uid; }
long do_geteuid(struct call *c) { return (long)c->t->creds.euid; }
long do_getgid(struct call *c) { return (long)c->t->creds.gid; }
long do_getegid(struct call *c) { return (long)c->t->creds.egid; }

static long write_three(struct call *c, uint32_t a, uint32_t b, uint32_t d)
{
	uint32_t values[3] = {a, b, d};
	for (int n = 0; n < 3; n++)
		if (mem_write(c->t->tid, c->a[n], &values[n], 4) < 0)
			return -EFAULT;
	return 0;
}

long do_getresuid(struct call *c) { return write_three(c, c->t->creds.uid, c->t->creds.euid, c->t->creds.suid); }
long do_getresgid(struct call *c) { return write_three(c, c->t->creds.gid, c->t->creds.egid, c->t->creds.sgid); }

long do_setuid(struct call *c)
{
	uid_t uid = (uid_t)c->a[0];
	if (uid == (uid_t)-1)
		return -EINVAL;
	if (has_capability(c->t, 7))
		return set_users(c, uid, uid, uid);
	if (uid != c->t->creds.uid && uid != c->t->creds.suid)
		return -EPERM;
	return set_users(c, (uid_t)-1, uid, (uid_t)-1);
}

long do_setgid(struct call *c)
{
	gid_t gid = (gid_t)c->a[0];
	if (gid == (gid_t)-1)
		return -EINVAL;
	if (has_capability(c->t, 6))
		return set_all_groups(c, gid, gid, gid);
	if (gid != c->t->creds.gid && gid != c->t->creds.sgid)
		return -EPERM;
	return set_all_groups(c, (gid_t)-1, gid, (gid_t)-1);
}

long do_setreuid(struct call *c)
{
	uid_t uid = (uid_t)c->a[0], euid = (uid_t)c->a[1], old = c->t->creds.uid;
	bool save = uid != (uid_t)-1 || (euid != (uid_t)-1 && euid != old);
	long bad = set_users(c, uid, euid, (uid_t)-1);
	if (!bad && save)
		c->t->creds.suid = c->t->creds.euid;
	return bad;
}

long do_setregid(struct call *c)
{
	gid_t gid = (gid_t)c->a[0], egid = (gid_t)c->a[1], old = c->t->creds.gid;
	bool save = gid != (gid_t)-1 || (egid != (gid_t)-1 && egid != old);
	long bad = set_all_groups(c, gid, egid, (gid_t)-1);
	if (!bad && save)
		c->t->creds.sgid = c->t->creds.egid;
	return bad;
}

long do_setresuid(struct call *c) { return set_users(c, (uid_t)c->a[0], (uid_t)c->a[1], (uid_t)c->a[2]); }
long do_setresgid(struct call *c) { return set_all_groups(c, (gid_t)c->a[0], (gid_t)c->a[1], (gid_t)c->a[2]); }

long do_setfsuid(struct call *c)
{
	struct creds *now = &c->t->creds;
	uid_t old = now->fsuid, uid = (uid_t)c->a[0];
	if (has_capability(c->t, 7) || uid == now->uid || uid == now->euid || uid == now->suid)
		now->fsuid = uid;
	return (long)old;
}

long do_setfsgid(struct call *c)
{
	struct creds *now = &c->t->creds;
	gid_t old = now->fsgid, gid = (gid_t)c->a[0];
	if (has_capability(c->t, 6) || gid == now->gid || gid == now->egid || gid == now->sgid)
		now->fsgid = gid;
	return (long)old;
}

long do_getgroups(struct call *c)
{
	struct groups *g = c->t->creds.groups;
	int room = (int)c->a[0];
	if (room < 0 || (room && room < g->count))
		return -EINVAL;
	if (room && g->count && mem_write(c->t->tid, c->a[1], g->ids, (size_t)g->count * sizeof(gid_t)) < 0)
		return -EFAULT;
	return g->count;
}

long do_setgroups(struct call *c)
{
	size_t n = c->a[0];
	if (!has_capability(c->t, 6))
		return -EPERM;
	if (n > 65536)
		return -EINVAL;
	struct groups *g = malloc(sizeof *g + n * sizeof(gid_t));
	if (!g)
		return -ENOMEM;
	g->refs = 1;
	g->count = (int)n;
	if (n && mem_read(c->t->tid, g->ids, c->a[1], n * sizeof(gid_t)) < 0) {
		free(g);
		return -EFAULT;
	}
	if (!--c->t->creds.groups->refs)
		free(c->t->creds.groups);
	c->t->creds.groups = g;
	return 0;
}

/* Capabilities. */

static struct task *subject(struct call *c, struct __user_cap_header_struct *header, int *words)
{
	if (mem_read(c->t->tid, header, c->a[0], sizeof *header) < 0)
		return NULL;
	*words = header->version == _LINUX_CAPABILITY_VERSION_1 ? 1 : 2;
	if (header->version != _LINUX_CAPABILITY_VERSION_1 && header->version != _LINUX_CAPABILITY_VERSION_2 &&
	    header->version != _LINUX_CAPABILITY_VERSION_3)
		*words = 0;
	return header->pid ? task_find(header->pid) : c->t;
}

long do_capget(struct call *c)
{
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[2];
	int words = 0;
	struct task *t = subject(c, &header, &words);
	if (!words) {
		header.version = _LINUX_CAPABILITY_VERSION_3;
		mem_write(c->t->tid, c->a[0], &header, sizeof header);
		return c->a[1] ? -EINVAL : 0;
	}
	if (!t)
		return -ESRCH;
	for (int n = 0; n < 2; n++) {
		data[n].effective = (uint32_t)(t->creds.effective >> 32 * n);
		data[n].permitted = (uint32_t)(t->creds.permitted >> 32 * n);
		data[n].inheritable = (uint32_t)(t->creds.inheritable >> 32 * n);
	}
	return c->a[1] ? mem_write(c->t->tid, c->a[1], data, (size_t)words * sizeof *data) : 0;
}

long do_capset(struct call *c)
{
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[2] = {0};
	int words = 0;
	struct task *t = subject(c, &header, &words);
	if (!words) {
		header.version = _LINUX_CAPABILITY_VERSION_3;
		mem_write(c->t->tid, c->a[0], &header, sizeof header);
		return -EINVAL;
	}
	if (t != c->t)
		return -EPERM;
	if (mem_read(c->t->tid, data, c->a[1], (size_t)words * sizeof *data) < 0)
		return -EFAULT;
	uint64_t effective = data[0].effective | (uint64_t)data[1].effective << 32;
	uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	uint64_t inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	struct creds *now = &t->creds;
	if (permitted & ~now->permitted || effective & ~permitted ||
	    inheritable & ~(now->inheritable | now->permitted | now->bounding))
		return -EPERM;
	now->effective = effective, now->permitted = permitted, now->inheritable = inheritable;
	return 0;
}

long do_prctl(struct call *c)
{
	struct creds *now = &c->t->creds;
	uint64_t arg = c->a[1];
	switch (c->a[0]) {
	case PR_SET_DUMPABLE: /* we could no longer read its memory */
		return arg > 1 ? -EINVAL : 0;
	case PR_CAPBSET_READ:
		return arg > 40 ? -EINVAL : (long)(now->bounding >> arg & 1);
	case PR_CAPBSET_DROP:
		if (arg > 40)
			return -EINVAL;
		if (!has_capability(c->t, 8 /* CAP_SETPCAP */))
			return -EPERM;
		now->bounding &= ~(1UL << arg);
		return 0;
	case PR_GET_KEEPCAPS:
		return now->keep;
	case PR_SET_KEEPCAPS:
		if (arg > 1)
			return -EINVAL;
		now->keep = arg;
		return 0;
	case PR_GET_SECUREBITS:
		return now->keep ? 1 << SECURE_KEEP_CAPS : 0;
	case PR_SET_SECUREBITS:
		if (!has_capability(c->t, 8))
			return -EPERM;
		now->keep = arg >> SECURE_KEEP_CAPS & 1;
		return 0;
	case PR_CAP_AMBIENT:
		return arg == PR_CAP_AMBIENT_RAISE ? -EPERM : 0;
	}
	c->action = GO;
	return 0;
}

long do_uname(struct call *c)
{
	struct utsname names;
	if (uname(&names))
		return -errno;
	if (options.hostname)
		snprintf(names.nodename, sizeof names.nodename, "%s", options.hostname);
	return mem_write(c->t->tid, c->a[0], &names, sizeof names);
}

long do_umask(struct call *c)
{
	c->t->fs->umask = (unsigned)c->a[0] & 0777;
	c->action = GO;
	return 0;
}

/* Set the ids of a program: those of its file, where that has set-user-ID bits. */
int emulate_exec(struct call *c, struct creds *next, const struct stat *shown)
{
	creds_copy(next, &c->t->creds);
	if (!options.ids)
		return 0;
	if (shown->st_mode & S_ISUID)
		next->euid = shown->st_uid;
	if ((shown->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		next->egid = shown->st_gid;
	next->suid = next->fsuid = next->euid;
	next->sgid = next->fsgid = next->egid;
	next->keep = false;
	if (!next->euid)
		next->permitted = next->effective = next->bounding;
	else
		next->permitted = next->effective = 0;
	return 0;
}
