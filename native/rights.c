/* The rights of processes to files, and the owners and modes that new files are shown with. */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>

#include "calls.h"

#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x2000
#endif

int look(struct where *w, struct stat *st)
{
	return fstatat(w->fd, w->rel, st, w->nofollow) ? -errno : 0;
}

int look_shown(struct where *w, struct stat *st)
{
	int bad = look(w, st);
	if (bad == -EACCES && make_accessible(w))
		bad = look(w, st);
	if (!bad)
		owner_show(st, w);
	return bad;
}

/* Check a file's mode as the kernel does; `mask` is made of 4 (read), 2 (write), 1 (execute). */
int may(const struct task *t, const struct stat *shown, int mask)
{
	const struct creds *c = &t->creds;
	unsigned mode = shown->st_mode;
	if (!options.ids || (proc_dev && shown->st_dev == proc_dev))
		return 0;
	if (c->fsuid == 0)
		return mask & 1 && !S_ISDIR(mode) && !(mode & 0111) ? -EACCES : 0;
	if (shown->st_uid == c->fsuid)
		mode >>= 6;
	else if (creds_in_group(c, shown->st_gid))
		mode >>= 3;
	return (mode & (unsigned)mask) == (unsigned)mask ? 0 : -EACCES;
}

/* Check whether the process may create, remove or replace a name; `victim` is its present file, or NULL. */
int may_change_entry(struct call *c, struct where *w, const struct stat *victim)
{
	struct stat parent;
	if (is_root(c->t))
		return 0;
	int bad = where_parent(w, &parent);
	if (bad)
		return bad;
	owner_show(&parent, NULL);
	if ((bad = may(c->t, &parent, 3)))
		return bad;
	if (victim && parent.st_mode & S_ISVTX && parent.st_uid != c->t->creds.fsuid &&
	    victim->st_uid != c->t->creds.fsuid)
		return -EPERM;
	return 0;
}

/* Return whether no mode keeps us out: root's right, which a container may take from root. */
static bool overrides_modes(void)
{
	static int known = -1;
	if (known < 0) {
		struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct sets[2] = {0};
		known = !syscall(SYS_capget, &head, sets) && sets[0].effective >> CAP_DAC_OVERRIDE & 1;
	}
	return known;
}

static bool open_up(int fd, const char *rel, struct where *w)
{
	struct stat st;
	if (fstatat(fd, rel, &st, AT_SYMLINK_NOFOLLOW) || st.st_uid != my_uid || S_ISLNK(st.st_mode))
		return false;
	unsigned wanted = st.st_mode | (S_ISDIR(st.st_mode) ? 0700 : 0600);
	if (wanted == st.st_mode)
		return false;
	struct where at = {.fd = fd, .rel = rel, .nofollow = AT_SYMLINK_NOFOLLOW, .close = -1, .mount = w->mount};
	if (w->mount)
		snprintf(at.g, sizeof at.g, "%s/%s", w->mount->dst, rel);
	if (cow_break(&at, &st, false) || fstatat(fd, rel, &st, AT_SYMLINK_NOFOLLOW))
		return false;
	struct owner *o = owner_make(&st, &at);
	if (!o)
		return false;
	if (o->mode == NO_MODE)
		o->mode = st.st_mode;
	return !fchmodat(fd, rel, wanted & 07777, 0);
}

/* A mode that keeps the owner out does not keep root out: give ourselves, the owner, the rights, and remember the
 * mode. */
int make_accessible(struct where *w)
{
	char path[ROOM];
	int changed = 0;
	if (!options.ids || !w->mount || overrides_modes())
		return 0;
	const char *rel = w->g + w->mount->dst_len;
	while (*rel == '/')
		rel++;
	for (size_t n = 1; *rel && n <= strlen(rel); n++)
		if (rel[n] == '/' || !rel[n]) {
			memcpy(path, rel, n);
			path[n] = 0;
			changed |= open_up(w->mount->fd, path, w);
		}
	return changed;
}

/* Record a new file, with the ids of the process, or its directory's group. `wanted` is the mode that it should
 * have. */
void created(struct call *c, struct where *w, unsigned wanted)
{
	struct stat parent, st;
	touched(w);
	if (!options.ids)
		return;
	uid_t uid = c->t->creds.fsuid;
	gid_t gid = c->t->creds.fsgid;
	unsigned inherited = 0;
	if (!where_parent(w, &parent)) {
		owner_show(&parent, NULL);
		if (parent.st_mode & S_ISGID) {
			gid = parent.st_gid;
			inherited = S_ISDIR(wanted) ? S_ISGID : 0;
		}
	}
	if (!uid && !gid && !inherited && (S_ISLNK(wanted) || real_mode(wanted) == (wanted & 07777)))
		return;
	if (look(w, &st))
		return;
	struct owner *o = owner_make(&st, w);
	if (!o)
		return;
	o->uid = uid;
	o->gid = gid;
	if (!S_ISLNK(wanted) && (real_mode(wanted) != (wanted & 07777) || inherited || S_ISCHR(wanted) || S_ISBLK(wanted)))
		o->mode = wanted | inherited;
}

unsigned real_mode(unsigned mode)
{
	if (!options.ids || overrides_modes())
		return mode & 07777;
	return (mode & 07777) | (S_ISDIR(mode) ? 0700 : 0400);
}

/* Something is mounted there. The kernel would refuse only where it is mounted, and it is not mounted for us. */
bool busy(const struct where *w)
{
	struct statx x;
	if (!options.paths)
		return !syscall(SYS_statx, w->fd, w->rel, w->nofollow, 0, &x) && x.stx_attributes & STATX_ATTR_MOUNT_ROOT;
	return w->mount && w->mount->dst_len && strlen(w->g) == w->mount->dst_len;
}
