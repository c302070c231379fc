// What runs inside Thunderbird, with its own rights: program.py calls these functions by their names.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");

const MAIN = "chrome://messenger/content/messenger.xhtml";
const COMPOSE = "chrome://messenger/content/messengercompose/messengercompose.xhtml";
const COMMON_DIALOG = "chrome://global/content/commonDialog.xhtml";
const EXCEPTION_DIALOG = "chrome://pippki/content/exceptionDialog.xhtml";

function findWindow(address) {
  return [...Services.wm.getEnumerator(null)].find(
    window => window.location.href === address && window.document.readyState === "complete");
}

// The dialog that waits for an answer: one that has had it takes a moment to go away.
function findDialog() {
  const window = findWindow(COMMON_DIALOG);
  return window?.answered ? undefined : window;
}

function exceptions() {
  return Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
}

function server() {
  return MailServices.outgoingServer.defaultServer.QueryInterface(Ci.nsISmtpServer);
}

// A click may open a dialog, and return only when that is closed: it has to happen after the function has returned.
function click(button) {
  Services.tm.dispatchToMainThread(() => button.click());
}

// The account settings: a page in a tab, with the outgoing servers in a frame and the dialog of one in another.
function settingsPage() {
  return findWindow(MAIN).document.getElementById("tabmail").currentTabInfo.browser?.contentWindow;
}

// A part of a window's screen in pixels of X: left, top, width, height.
function pixels(window, left, top, width, height) {
  return [left, top, width, height].map(length => Math.round(length * window.devicePixelRatio));
}

function windowPixels(window) {
  return pixels(window, window.screenX, window.screenY, window.outerWidth, window.outerHeight);
}

const actions = {
  ready() {
    return Boolean(findWindow(MAIN));
  },

  // What "Outgoing server" of the account settings sets; security and method are nsMsgSocketType and nsMsgAuthMethod.
  configure(port, security, method, username) {
    server().forgetPassword();
    server().closeCachedConnections();
    exceptions().clearAllOverrides();
    Object.assign(server(), { port, socketType: security, authMethod: method, username });
  },

  // As if "use the password manager" had been ticked at an earlier prompt.
  async remember(password) {
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    const origin = "smtp://" + server().hostname;
    login.init(origin, null, origin, server().username, password, "", "");
    await Services.logins.addLoginAsync(login);
  },

  // As if the exception for this certificate (base64 of its DER) had been confirmed.
  trust(certificate) {
    const database = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
    exceptions().rememberValidityOverride(
      server().hostname, server().port, {}, database.constructX509FromBase64(certificate), true);
  },

  compose(to, subject, body, path) {
    const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
    Object.assign(fields, { to, subject, body });
    if (path) {
      const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
      file.initWithPath(path);
      const attachment = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
      Object.assign(attachment, { url: Services.io.newFileURI(file).spec, name: file.leafName, size: file.fileSize });
      fields.addAttachment(attachment);
    }
    const parameters = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
    parameters.composeFields = fields;
    parameters.identity = MailServices.accounts.defaultAccount.defaultIdentity;
    parameters.format = Ci.nsIMsgCompFormat.PlainText;
    MailServices.compose.OpenComposeWindowWithParams(null, parameters);
  },

  composing() {
    return Boolean(findWindow(COMPOSE));
  },

  // Click "Send" as soon as it can be clicked: true when that was done.
  send() {
    const button = findWindow(COMPOSE)?.document.getElementById("button-send");
    if (!button || button.disabled || !findWindow(COMPOSE).gMsgCompose?.editor) {
      return false;
    }
    click(button);
    return true;
  },

  // Choose "Delivery Status Notification" in the options of the message, as soon as that can be done: true when it is.
  askReport() {
    const window = findWindow(COMPOSE);
    if (!window?.gMsgCompose?.editor) {
      return false;
    }
    window.document.getElementById("dsnMenu").doCommand();
    return window.gMsgCompose.compFields.DSN;
  },

  // A message in a file, in a tab of its own.
  open(path) {
    const { MailUtils } = ChromeUtils.importESModule("resource:///modules/MailUtils.sys.mjs");
    const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
    file.initWithPath(path);
    MailUtils.openEMLFile(findWindow(MAIN), file, Services.io.newFileURI(file));
  },

  // What is shown of it, once there is something; the tab is closed then.
  shown() {
    const pane = findWindow(MAIN).document.getElementById("tabmail").currentAboutMessage?.getMessagePaneBrowser?.();
    const text = pane?.contentDocument?.body?.textContent.trim();
    if (text) {
      findWindow(MAIN).document.getElementById("tabmail").closeTab();
    }
    return text || "";
  },

  // Close whatever is open besides the main window; dialogs first, for their openers wait. True when nothing is left.
  clear() {
    const others = [...Services.wm.getEnumerator(null)].filter(window => window.location.href !== MAIN);
    if (findDialog()) {
      actions.answer("cancel", null);
    } else if (!findWindow(COMMON_DIALOG)) {
      others.forEach(window => window.close());
    }
    return others.length === 0;
  },

  // The title and text of the dialog that waits for an answer; null when there is none.
  dialog() {
    const window = findDialog();
    const text = window?.document.getElementById("infoBody").textContent;
    return text ? { title: window.document.title, text, password: window.args.promptType === "promptPassword" } : null;
  },

  // Fill in the waiting dialog's password, if one is given, and click one of its buttons: accept, cancel, extra1.
  answer(button, password) {
    const window = findDialog();
    if (password !== null) {
      window.document.getElementById("password1Textbox").value = password;
    }
    window.answered = true;
    click(window.document.getElementById("commonDialog").getButton(button));
  },

  // Click "Confirm Security Exception" as soon as it can be clicked: true when that was done.
  confirmException() {
    const button = findWindow(EXCEPTION_DIALOG)?.document.getElementById("exceptiondialog").getButton("extra1");
    if (!button || button.disabled) {
      return false;
    }
    click(button);
    return true;
  },

  trusted() {
    return !findWindow(EXCEPTION_DIALOG) && exceptions().getOverrides().length > 0;
  },

  // True once the message's window has that size.
  resize(width, height) {
    const window = findWindow(COMPOSE);
    window.resizeTo(width, height);
    return window.outerWidth === width && window.outerHeight === height;
  },

  openSettings() {
    findWindow(MAIN).MsgAccountManager();
  },

  // Select "Outgoing server", then click "Edit", each as soon as it can be; where the dialog is once it is there.
  editServer() {
    const page = settingsPage();
    if (page?.document.readyState !== "complete") {
      return null;
    }
    const dialog = page.gSubDialog?._topDialog;
    if (dialog) {
      const box = dialog._box.getBoundingClientRect();
      const shown = dialog._overlay.style.visibility === "inherit";
      const [left, top] = [page.mozInnerScreenX + box.x, page.mozInnerScreenY + box.y];
      return shown ? pixels(page, left, top, box.width, box.height) : null;
    }
    const tree = page.document.getElementById("accounttree");
    const servers = tree.rows?.find(row => row.getAttribute("PageTag") === "am-smtp.xhtml");
    if (servers) {
      tree.selectedIndex = tree.rows.indexOf(servers);
      const list = page.document.getElementById("contentFrame").contentDocument;
      list.getElementById("smtpList")?.selectedItem && click(list.getElementById("editButton"));
    }
    return null;
  },

  closeSettings() {
    findWindow(MAIN).document.getElementById("tabmail").closeTab();
  },

  composeFrame() {
    return windowPixels(findWindow(COMPOSE));
  },

  dialogFrame() {
    return windowPixels(findDialog());
  },
};

return actions[arguments[0]](...arguments[1]);
