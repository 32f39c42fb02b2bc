# What a person reads who opens an archive. Nothing personal: names of files stand beside these sentences.

title = Your account’s data
made = This copy was asked for on { $time }.
promise = Everything that was there then and did not change until the copy was finished is in it. What you changed meanwhile may be in it as it was before or after.
nothing = Nothing is held here.
amount = { $items } items in { $files } files, { $size }
more = { $files } more files are in the folder “{ $folder }”.
left-out = Not in this copy: passwords, codes and other things that prove who you are, as nobody should carry those around; and backups of devices, which only their devices can read.
check = manifest.json lists every file with its size and SHA-256.
of-cloud = Cloud: photos, contacts and notes
of-community = Community: posts and comments
of-identity = Account and profile
of-phones = Phones and tablets
of-smarthome = Smart home
of-store = Store: orders and benefits
of-wearables = Watches and wearables
