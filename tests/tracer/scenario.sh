# What the tree shows afterwards is compared with what the kernel's own namespaces make of the same commands.
set -ex
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends sudo libcap2-bin less
useradd -m -s /bin/bash alice
mkdir -p /srv/a/b
echo hi > /srv/a/b/f
chown -R alice:alice /srv/a
su alice -c 'id; whoami; touch ~/x; mkdir -m 700 ~/private; echo z > ~/private/q; mkdir -m 555 ~/closed'
su alice -c 'cat /etc/shadow; rm /etc/passwd; touch /etc/foo; chown root ~/x; touch ~/closed/y; ls /root' && exit 1
echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice
su alice -c 'sudo -n id; sudo -n touch /root/by-sudo; echo mine > ~/note; sudo -n chown root:adm ~/note'
touch /home/alice/closed/by-root
# Devices, capabilities, modes that keep their owner out
mknod /srv/null c 1 3
mknod -m 640 /srv/disk b 8 1
mkfifo -m 600 /srv/fifo
chown alice /srv/null
cp /bin/true /srv/raw
setcap cap_net_raw+ep /srv/raw
cp -a /srv/raw /srv/raw-copy
mkdir /srv/shut && echo in > /srv/shut/f && chmod 000 /srv/shut/f /srv/shut && cat /srv/shut/f
chmod 4755 /srv/raw-copy
install -o alice -g adm -m 2775 -d /srv/team
echo t > /srv/team/inherits
mkdir /srv/team/sub
# Remembered files move, are linked, replaced and removed
mv /srv/a/b/f /srv/a/g
ln /srv/a/g /srv/a/h
echo new > /srv/new; mv /srv/new /srv/a/h
rm -r /srv/a/b; mkdir /srv/a/b
mv /srv/a /srv/renamed
ln -s renamed/g /srv/link; chown -h alice /srv/link
cp -a /home/alice /srv/alice-copy
tar -C /home -cf /srv/home.tar alice && mkdir /srv/untarred && tar -C /srv/untarred -xpf /srv/home.tar
rm /srv/home.tar
# Files of the image change, those that it links together too
chmod 600 /etc/issue; echo more >> /etc/debian_version; touch -d @1000000000 /etc/host.conf; truncate -s 3 /etc/issue.net
chgrp adm /usr/bin/perl
python3 -c 'import os; os.setgroups([4, 27]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000); print(os.getgroups(), os.getresuid()); open("/tmp/of-1000", "w")'
echo 'root:secret' | chpasswd
